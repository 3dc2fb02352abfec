package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits bound the bytes, time and requests of one command.
type limits struct {
	// Bytes of one manifest, or of the blob that is asked for.
	bytes int64
	// Time of the whole command.
	time time.Duration
	// Time to the first byte of an answer, and over which the rate of a transfer is measured.
	responseTimeout time.Duration
	// Bytes per second below which a transfer is ended.
	minRate int64
	// Redirects of one request.
	redirects int
}

const (
	manifestBytes = 4 << 20
	// Of answers that are neither manifest nor blob: pings, tokens, uploads.
	otherBytes = 1 << 20
	// Of an error's body; the rest is not read.
	errorBytes  = 32 << 10
	headerBytes = 256 << 10
)

// Refusal is the error of a request that is not sent. It is final.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// Excess is the error of an answer with more bytes than its limit.
type excess struct{ limit int64 }

func (e *excess) Error() string {
	return fmt.Sprintf("it gives more than the %d bytes there are", e.limit)
}

// Slowness is the error of a transfer or a command that takes too long.
type slowness struct{ reason string }

// Silence is the error of a registry that does not answer the first request.
type silence struct{ reason string }

func (s *silence) Error() string { return s.reason }

func (s *slowness) Error() string { return s.reason }

// Answer has the facts of a registry's last answer that a failure may need.
type answer struct {
	status      int
	contentType string
	retryAfter  string
}

// Guard sends the requests of one command to a registry, and to the hosts that the registry names, within the limits.
type guard struct {
	limits limits
	// The registry's host, with port where it has one.
	own       string
	transport *http.Transport

	mutex sync.Mutex
	scope scope
	last  answer
}

// Trust is what is known of the peer of a connection.
type trust int

const (
	// A host that the registry names, in a redirect or for its tokens.
	named trust = iota
	// The registry itself, by https.
	chosen
	// The registry itself, by http.
	cleartext
	// The user's proxy, which connects to the host itself.
	proxied
)

type trustKey struct{}

func newGuard(own string, limits limits) *guard {
	g := &guard{limits: limits, own: own, scope: scopeOfName(hostname(own))}
	dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: g.mayConnect}
	g.transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err == nil && ctx.Value(trustKey{}) == chosen {
				g.note(scopeOfAddress(connection.RemoteAddr().String()))
			}
			return connection, err
		},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		// A registry may take long after an upload: it hashes the blob and moves it to its storage.
		ResponseHeaderTimeout:  4 * limits.responseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: headerBytes,
		MaxIdleConnsPerHost:    8,
		// Bytes are hashed as they were published, and counted as they were received.
		DisableCompression: true,
	}
	return g
}

// RoundTrip sends one request if it is allowed, and returns its answer within the limits.
func (g *guard) RoundTrip(request *http.Request) (*http.Response, error) {
	first, redirects := firstOf(request)
	if redirects > g.limits.redirects {
		return nil, &refusal{fmt.Sprintf("it redirects more than %d times", g.limits.redirects)}
	}
	trust, err := g.trustIn(request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(request.Context(), trustKey{}, trust))
	asks := request.Method == http.MethodGet || request.Method == http.MethodHead
	flow := newFlow(g.limits, asks, cancel)
	sent := request.WithContext(ctx)
	flow.countUpload(sent)
	response, err := g.transport.RoundTrip(sent)
	if err != nil {
		flow.end()
		slow, ok := context.Cause(ctx).(*slowness)
		switch {
		case !ok:
			return nil, err
		case flow.phase.Load() == waiting && request.URL.Path == "/v2/":
			return nil, &silence{slow.reason}
		}
		return nil, slow
	}
	header := response.Header
	g.mutex.Lock()
	g.last = answer{response.StatusCode, header.Get("Content-Type"), header.Get("Retry-After")}
	g.mutex.Unlock()
	body := &bounded{inner: response.Body, flow: flow, ctx: ctx, limit: g.limitOf(first)}
	body.truncates = response.StatusCode >= 300
	if body.truncates {
		body.limit = errorBytes
	}
	flow.phase.Store(downloading)
	response.Body = body
	return response, nil
}

// FirstOf returns the request before any redirects, and their number.
func firstOf(request *http.Request) (*http.Request, int) {
	redirects := 0
	for request.Response != nil && request.Response.Request != nil {
		request = request.Response.Request
		redirects++
	}
	return request, redirects
}

func (g *guard) limitOf(first *http.Request) int64 {
	switch path := first.URL.Path; {
	case first.Method != http.MethodGet || first.URL.Host != g.own:
		return otherBytes
	case strings.Contains(path, "/manifests/"):
		return min(g.limits.bytes, manifestBytes)
	case strings.Contains(path, "/blobs/sha256:"):
		return g.limits.bytes
	}
	return otherBytes
}

// TrustIn refuses a request to a host that the registry must not lead to.
func (g *guard) trustIn(request *http.Request) (trust, error) {
	url := request.URL
	host := url.Hostname()
	isOwn := url.Host == g.own
	if url.Scheme != "https" {
		fromHTTPS := request.Response != nil && request.Response.Request.URL.Scheme == "https"
		if url.Scheme != "http" || fromHTTPS || !isLoopbackName(host) || !isLoopbackName(hostname(g.own)) {
			return 0, &refusal{fmt.Sprintf("%s would be asked by %s: only this machine's own loopback is", host, url.Scheme)}
		}
	}
	if !isOwn {
		// The scope of a name is unknown before it is connected to.
		if found := scopeOfName(host); found != unknown && !g.mayReach(found) {
			return 0, notReached(host, found)
		}
	}
	proxy, err := http.ProxyFromEnvironment(request)
	switch {
	case err != nil:
		return 0, err
	case proxy != nil:
		return proxied, nil
	case isOwn && url.Scheme == "http":
		return cleartext, nil
	case isOwn:
		return chosen, nil
	}
	return named, nil
}

// MayConnect checks the address that a name resolves to, before anything is sent there.
func (g *guard) mayConnect(ctx context.Context, _, address string, _ syscall.RawConn) error {
	found := scopeOfAddress(address)
	switch ctx.Value(trustKey{}) {
	case named:
		if !g.mayReach(found) {
			return notReached(address, found)
		}
	case cleartext:
		if found != loopback {
			return &refusal{fmt.Sprintf("%s would be asked by http: it is not this machine's loopback", address)}
		}
	}
	return nil
}

func notReached(host string, found scope) *refusal {
	return &refusal{fmt.Sprintf("it leads to %s, %s, which the registry itself is not at", host, found)}
}

// MayReach reports whether the registry may redirect to this scope: no nearer to this machine than its own.
func (g *guard) mayReach(found scope) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return found <= max(g.scope, public)
}

// Note remembers the scope of the registry: of several addresses the farthest, since it controls what its name resolves to.
func (g *guard) note(found scope) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.scope == unknown || found < g.scope {
		g.scope = found
	}
}

func (g *guard) lastAnswer() answer {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.last
}

const (
	waiting int32 = iota
	uploading
	downloading
)

// Flow ends a request whose transfer is too slow.
type flow struct {
	phase  atomic.Int32
	moved  atomic.Int64
	ticker *time.Ticker
	cancel context.CancelCauseFunc
	done   chan struct{}
	once   sync.Once
}

// NewFlow starts to watch a request; one without a body must also be answered in time.
func newFlow(limits limits, asks bool, cancel context.CancelCauseFunc) *flow {
	f := &flow{ticker: time.NewTicker(limits.responseTimeout), cancel: cancel, done: make(chan struct{})}
	fair := int64(float64(limits.minRate) * limits.responseTimeout.Seconds())
	go func() {
		before := waiting
		for {
			select {
			case <-f.done:
				return
			case <-f.ticker.C:
				phase, moved := f.phase.Load(), f.moved.Swap(0)
				// A phase that has just begun has not had its full time.
				if phase == before && phase != waiting && moved < fair {
					cancel(&slowness{fmt.Sprintf("less than %d bytes a second went through for %s", limits.minRate, limits.responseTimeout)})
				} else if phase == before && phase == waiting && asks {
					cancel(&slowness{fmt.Sprintf("it did not answer within %s", limits.responseTimeout)})
				}
				before = phase
			}
		}
	}()
	return f
}

func (f *flow) end() {
	f.once.Do(func() {
		f.ticker.Stop()
		close(f.done)
		f.cancel(nil)
	})
}

func (f *flow) countUpload(request *http.Request) {
	if request.Body == nil || request.Body == http.NoBody {
		return
	}
	f.phase.Store(uploading)
	request.Body = &counted{request.Body, f}
	if again := request.GetBody; again != nil {
		request.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			f.phase.Store(uploading)
			return &counted{body, f}, nil
		}
	}
}

// Counted is the body of an upload.
type counted struct {
	io.ReadCloser
	flow *flow
}

func (c *counted) Read(into []byte) (int, error) {
	count, err := c.ReadCloser.Read(into)
	c.flow.moved.Add(int64(count))
	if err != nil {
		c.flow.phase.CompareAndSwap(uploading, waiting)
	}
	return count, err
}

// Bounded is the body of an answer.
type bounded struct {
	inner io.ReadCloser
	flow  *flow
	ctx   context.Context
	limit int64
	read  int64
	// Whether it ends at the limit instead of failing.
	truncates bool
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.read >= b.limit && b.truncates {
		return 0, io.EOF
	}
	// Reads one byte more, to distinguish an excess from an end.
	if left := b.limit - b.read + 1; int64(len(into)) > left {
		into = into[:left]
	}
	count, err := b.inner.Read(into)
	b.read += int64(count)
	b.flow.moved.Add(int64(count))
	if b.read > b.limit && !b.truncates {
		return 0, &excess{b.limit}
	}
	if err != nil && err != io.EOF {
		if slow, ok := context.Cause(b.ctx).(*slowness); ok {
			return count, slow
		}
	}
	return count, err
}

func (b *bounded) Close() error {
	defer b.flow.end()
	return b.inner.Close()
}
