// Command registry-client reads from and writes to an OCI registry (distribution-spec 1.1), within limits of bytes, time
// and redirects. On failure it prints one line of JSON to stderr.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/logs"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const usage = `registry-client [flags] manifest REFERENCE     prints a manifest or index
registry-client [flags] blob REPOSITORY@DIGEST   prints a blob
registry-client [flags] stat REPOSITORY DIGEST…  prints a line of JSON for each blob
registry-client [flags] push LAYOUT REFERENCE    pushes the one image of an OCI layout folder
registry-client [flags] tag REFERENCE TAG
registry-client [flags] delete REFERENCE
registry-client version
`

// The version of go-containerregistry, set by the linker.
var version = "unknown"

// Memory limits behind those of each answer: near the first Go collects garbage, and at the second it ends.
const (
	memory     = 96 << 20
	memoryWall = 1 << 30
)

func main() {
	debug.SetMemoryLimit(memory)
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: memoryWall, Max: memoryWall})
	// Its messages quote the registry and are not escaped for a terminal.
	logs.Warn.SetOutput(io.Discard)
	var limits limits
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.PrintDefaults()
	}
	flag.Int64Var(&limits.bytes, "bytes", manifestBytes, "of a manifest or of the blob")
	flag.DurationVar(&limits.time, "time", time.Hour, "of the whole command")
	flag.DurationVar(&limits.responseTimeout, "response-timeout", 30*time.Second, "to an answer's first byte, and over which the rate is measured")
	flag.Int64Var(&limits.minRate, "min-rate", 1024, "bytes per second of a transfer")
	flag.IntVar(&limits.redirects, "redirects", 5, "of one request")
	flag.Parse()
	if flag.NArg() == 1 && flag.Arg(0) == "version" {
		fmt.Println(version)
		return
	}
	command, ok := commandOf(flag.Args())
	if !ok {
		flag.Usage()
		os.Exit(2)
	}
	late := &slowness{fmt.Sprintf("it was not done after %s", limits.time)}
	// Credential helpers and the disk ignore the context.
	time.AfterFunc(limits.time+time.Second, func() { fail(late, answer{}) })
	ctx, cancel := context.WithTimeoutCause(context.Background(), limits.time, late)
	defer cancel()
	client, err := newClient(ctx, command.reference, limits)
	if err == nil {
		err = command.run(client)
	}
	if err == nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == late {
		err = late
	}
	last := answer{}
	if client != nil {
		last = client.guard.lastAnswer()
	}
	fail(err, last)
}

func fail(err error, last answer) {
	line, _ := json.Marshal(failureOf(err, last))
	fmt.Fprintf(os.Stderr, "%s\n", line)
	os.Exit(1)
}

type command struct {
	reference string
	run       func(*client) error
}

func commandOf(args []string) (command, bool) {
	if len(args) < 2 {
		return command{}, false
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "manifest" && len(args) == 1:
		return command{args[0], (*client).manifest}, true
	case verb == "blob" && len(args) == 1:
		return command{args[0], (*client).blob}, true
	case verb == "stat":
		return command{args[0], func(c *client) error { return c.stat(args[1:]) }}, true
	case verb == "push" && len(args) == 2:
		return command{args[1], func(c *client) error { return c.push(args[0]) }}, true
	case verb == "tag" && len(args) == 2:
		return command{args[0], func(c *client) error { return c.tag(args[1]) }}, true
	case verb == "delete" && len(args) == 1:
		return command{args[0], func(c *client) error { return remote.Delete(c.reference, c.options()...) }}, true
	}
	return command{}, false
}

type client struct {
	ctx       context.Context
	reference name.Reference
	guard     *guard
}

func newClient(ctx context.Context, text string, limits limits) (*client, error) {
	reference, err := name.ParseReference(text)
	if err != nil {
		return nil, err
	}
	return &client{ctx, reference, newGuard(reference.Context().RegistryStr(), limits)}, nil
}

// The defaults of go-containerregistry, with the guard added.
var (
	backoff  = remote.Backoff{Duration: time.Second, Factor: 3, Jitter: 0.1, Steps: 3}
	statuses = []int{408, 429, 499, 500, 502, 503, 504, 522}
)

func (c *client) options() []remote.Option {
	return []remote.Option{
		remote.WithContext(c.ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(c.guard),
		remote.WithRetryBackoff(backoff),
		remote.WithRetryPredicate(mayRetry),
		remote.WithRetryStatusCodes(statuses...),
	}
}

// Reader logs in, and returns a client with which the repository can be read.
func (c *client) reader() (*http.Client, error) {
	repository := c.reference.Context()
	auth, err := authn.Resolve(c.ctx, authn.DefaultKeychain, repository)
	if err != nil {
		return nil, err
	}
	retrying := transport.NewRetry(c.guard, transport.WithRetryBackoff(backoff),
		transport.WithRetryPredicate(mayRetry), transport.WithRetryStatusCodes(statuses...))
	scopes := []string{repository.Scope(transport.PullScope)}
	inner, err := transport.NewWithContext(c.ctx, repository.Registry, auth, retrying, scopes)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: inner}, nil
}

// Ask sends a request for one of the repository's `manifests` or `blobs`.
func (c *client) ask(reader *http.Client, method, kind, identifier string) (*http.Response, error) {
	repository := c.reference.Context()
	url := fmt.Sprintf("%s://%s/v2/%s/%s/%s",
		repository.Scheme(), repository.RegistryStr(), repository.RepositoryStr(), kind, identifier)
	request, err := http.NewRequestWithContext(c.ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if kind == "manifests" {
		for _, accepted := range []types.MediaType{types.OCIImageIndex, types.OCIManifestSchema1,
			types.DockerManifestList, types.DockerManifestSchema2} {
			request.Header.Add("Accept", string(accepted))
		}
	}
	return reader.Do(request)
}

// Print copies a manifest or blob to stdout, and verifies the digest where the reference has one.
func (c *client) print(kind string) error {
	reader, err := c.reader()
	if err != nil {
		return err
	}
	response, err := c.ask(reader, http.MethodGet, kind, c.reference.Identifier())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := transport.CheckError(response, http.StatusOK); err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(os.Stdout, hash), response.Body); err != nil {
		return err
	}
	found := "sha256:" + hex.EncodeToString(hash.Sum(nil))
	if wanted, ok := c.reference.(name.Digest); ok && wanted.DigestStr() != found {
		return &wrongBytes{found}
	}
	return nil
}

func (c *client) manifest() error { return c.print("manifests") }

func (c *client) blob() error { return c.print("blobs") }

// Stat is one line of output.
type stat struct {
	Digest      string `json:"digest"`
	IsThere     bool   `json:"isThere"`
	Size        *int64 `json:"size"`
	ContentType string `json:"contentType"`
}

func (c *client) stat(digests []string) error {
	reader, err := c.reader()
	if err != nil {
		return err
	}
	lines := json.NewEncoder(os.Stdout)
	for _, digest := range digests {
		if _, err := v1.NewHash(digest); err != nil {
			return err
		}
		response, err := c.ask(reader, http.MethodHead, "blobs", digest)
		if err != nil {
			return err
		}
		response.Body.Close()
		contentType := response.Header.Get("Content-Type")
		found := stat{Digest: digest, IsThere: true, ContentType: contentType[:min(len(contentType), 100)]}
		if response.ContentLength >= 0 {
			found.Size = &response.ContentLength
		}
		if response.StatusCode == http.StatusNotFound {
			found = stat{Digest: digest}
		} else if err := transport.CheckError(response, http.StatusOK); err != nil {
			return err
		}
		if err := lines.Encode(found); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) push(folder string) error {
	root, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return err
	}
	index, err := root.IndexManifest()
	if err != nil {
		return err
	}
	if len(index.Manifests) != 1 {
		return fmt.Errorf("%s has %d images instead of one", folder, len(index.Manifests))
	}
	only := index.Manifests[0]
	if only.MediaType.IsIndex() {
		images, err := root.ImageIndex(only.Digest)
		if err != nil {
			return err
		}
		return remote.WriteIndex(c.reference, images, c.options()...)
	}
	image, err := root.Image(only.Digest)
	if err != nil {
		return err
	}
	return remote.Write(c.reference, image, c.options()...)
}

func (c *client) tag(tag string) error {
	parsed, err := name.NewTag(c.reference.Context().Name()+":"+tag, name.StrictValidation)
	if err != nil {
		return err
	}
	found, err := remote.Get(c.reference, c.options()...)
	if err != nil {
		return err
	}
	return remote.Tag(parsed, found, c.options()...)
}
