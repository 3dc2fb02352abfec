// Command with-proxy becomes the command of a recipe's RUN that fetches, and gives it a proxy: on the container's loopback
// listens a process that hands each connection on to a socket, which BuildKit's session leads to whoever asked for the build.
// The container has no other network, and nothing of this is in the image: it is mounted in a folder that BuildKit removes.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

const (
	mounted   = "/.stagex-fetch"
	socket    = mounted + "/deps.sock"
	authority = mounted + "/bin/ca.pem"
	proxy     = "127.0.0.1:3128"
	// resolver is the name server that a step has in its /etc/resolv.conf (runc-hermetic).
	resolver = "127.0.0.1:53"
	// serve is the only argument of the process that listens.
	serve = "--serve"
)

// certificates are the variables by which clients are given authorities to trust: OpenSSL and Go, curl, git, cargo, Node, pip,
// Python's requests, and Composer.
var certificates = []string{
	"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT",
	"REQUESTS_CA_BUNDLE", "COMPOSER_CAFILE",
}

var proxies = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}

// cleared would have clients go past the proxy.
var cleared = []string{"NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_DIR"}

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == serve {
		err = forward()
	} else {
		err = become(os.Args[1:])
	}
	fmt.Fprintf(os.Stderr, "with-proxy: %v\n", err)
	os.Exit(1)
}

// become starts the process that listens, and then becomes the command, which so has the number and the exit code that it
// would have by itself. Once it ends, the kernel ends the other one with the container.
func become(command []string) error {
	if len(command) == 0 {
		return fmt.Errorf("no command")
	}
	listener, err := net.Listen("tcp", proxy)
	if err != nil {
		return err
	}
	passed, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	files := []*os.File{passed}
	// A user other than root may not listen there; then a client that looks up names itself is not told of by name.
	if names, err := net.ListenPacket("udp", resolver); err == nil {
		file, err := names.(*net.UDPConn).File()
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	child := exec.Command("/proc/self/exe", serve)
	child.ExtraFiles = files
	child.Dir = "/"
	if err := child.Start(); err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, command, environment(os.Environ()))
}

func environment(given []string) []string {
	all := slices.Concat(certificates, proxies, cleared)
	set := slices.DeleteFunc(given, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(all, name)
	})
	for _, name := range certificates {
		set = append(set, name+"="+authority)
	}
	for _, name := range proxies {
		set = append(set, name+"=http://"+proxy)
	}
	return set
}
