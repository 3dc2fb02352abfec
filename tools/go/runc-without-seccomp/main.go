// Command runc-without-seccomp is a runc for machines without libseccomp.
//
// BuildKit puts a seccomp profile into each container's config.json when the kernel knows seccomp, and a runc that was
// built without libseccomp refuses such a container. This program takes the profile out and becomes the real runc,
// which lies beside it under the name runc.real. What a RUN may do is then bounded by namespaces, dropped
// capabilities and the lack of a network, but not by a filter on system calls. No digest depends on it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "runc-without-seccomp: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if bundle, creates := bundleOf(args[1:]); creates {
		if err := dropSeccomp(filepath.Join(bundle, "config.json")); err != nil {
			return fmt.Errorf("can't take the seccomp profile out of the bundle %s: %w", bundle, err)
		}
	}
	real := filepath.Join(filepath.Dir(self), "runc.real")
	return syscall.Exec(real, append([]string{real}, args[1:]...), os.Environ())
}

// bundleOf tells whether the command creates a container, and from which bundle; runc's default is the current folder.
func bundleOf(args []string) (bundle string, creates bool) {
	bundle = "."
	for i, arg := range args {
		switch {
		case arg == "run" || arg == "create":
			creates = true
		case (arg == "--bundle" || arg == "-b") && i+1 < len(args):
			bundle = args[i+1]
		case strings.HasPrefix(arg, "--bundle="):
			bundle = strings.TrimPrefix(arg, "--bundle=")
		}
	}
	return bundle, creates
}

// dropSeccomp removes linux.seccomp (runtime-spec, config-linux.md "Seccomp") and leaves all else as it is.
func dropSeccomp(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config, linux map[string]json.RawMessage
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	if config["linux"] == nil {
		return nil
	}
	if err := json.Unmarshal(config["linux"], &linux); err != nil {
		return err
	}
	if linux["seccomp"] == nil {
		return nil
	}
	delete(linux, "seccomp")
	if config["linux"], err = json.Marshal(linux); err != nil {
		return err
	}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
