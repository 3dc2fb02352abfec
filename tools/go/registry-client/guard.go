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

// Limits bound what a registry can make this program do.
type limits struct {
	// Bytes of one manifest, or of the blob that is asked for.
	bytes int64
	// Time of the whole command.
	time time.Duration
	// Time to the first byte of an answer, and over which the speed of a transfer is measured.
	patience time.Duration
	// Bytes per second under which a transfer is given up.
	slowest int64
	// Redirects of one request.
	redirects int
}

const (
	manifestBytes = 4 << 20
	// Of answers that are neither manifest nor blob: pings, tokens, uploads.
	otherBytes = 1 << 20
	// Of an error's body; what comes after it is not read.
	errorBytes  = 32 << 10
	headerBytes = 256 << 10
)

// A refusal is a request that is never sent. It is final.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// Excess is an answer with more bytes than its limit.
type excess struct{ limit int64 }

func (e *excess) Error() string {
	return fmt.Sprintf("it gives more than the %d bytes there are", e.limit)
}

// Slowness is a transfer, or a command, that takes too long.
type slowness struct{ reason string }

// Silence is a registry that does not even answer the first question.
type silence struct{ reason string }

func (s *silence) Error() string { return s.reason }

func (s *slowness) Error() string { return s.reason }

// Answer is what is kept of a registry's last answer.
type answer struct {
	status      int
	contentType string
	retryAfter  string
}

// Guard sends the requests of one command to one registry, and to the hosts that the registry names, within the limits.
type guard struct {
	limits limits
	// The registry's host, with port where it has one.
	own       string
	transport *http.Transport

	mutex sync.Mutex
	reach reach
	last  answer
}

// Trust is how much is known of the peer of a connection.
type trust int

const (
	// A host that the registry names: in a redirect, or as the place of its tokens.
	named trust = iota
	// The registry itself, by https.
	chosen
	// The registry itself, by http.
	cleartext
	// The user's proxy, which connects to the host in our place.
	proxied
)

type trustKey struct{}

func newGuard(own string, limits limits) *guard {
	g := &guard{limits: limits, own: own, reach: reachOfName(hostname(own))}
	dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: g.mayConnect}
	g.transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err == nil && ctx.Value(trustKey{}) == chosen {
				g.note(reachOfAddress(connection.RemoteAddr().String()))
			}
			return connection, err
		},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		// A registry may take long over what was uploaded: it hashes it, and moves it to its storage.
		ResponseHeaderTimeout:  4 * limits.patience,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: headerBytes,
		MaxIdleConnsPerHost:    8,
		// What is hashed is what was published, and what is counted is what came.
		DisableCompression: true,
	}
	return g
}

// RoundTrip sends one request if it may be sent, and hands on its answer within the limits.
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

// FirstOf returns the request that redirects have led away from, and how many there were.
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

// TrustIn refuses a request that leads to where this machine should not go at a registry's word.
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
		// Of a name nothing is known before it is connected to.
		if found := reachOfName(host); found != unknown && !g.mayReach(found) {
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

// MayConnect is asked with the address that a name has led to, before anything is sent there.
func (g *guard) mayConnect(ctx context.Context, _, address string, _ syscall.RawConn) error {
	found := reachOfAddress(address)
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

func notReached(host string, found reach) *refusal {
	return &refusal{fmt.Sprintf("it leads to %s, %s, which the registry itself is not at", host, found)}
}

// MayReach tells whether the registry may send us there: no nearer to this machine than where it is itself.
func (g *guard) mayReach(found reach) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return found <= max(g.reach, public)
}

// Note remembers where the registry is: of several addresses the farthest, since it decides itself what its name leads to.
func (g *guard) note(found reach) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.reach == unknown || found < g.reach {
		g.reach = found
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

// Flow ends a request through which hardly a byte goes.
type flow struct {
	phase  atomic.Int32
	moved  atomic.Int64
	ticker *time.Ticker
	cancel context.CancelCauseFunc
	done   chan struct{}
	once   sync.Once
}

// NewFlow begins to watch a request; one that only asks is answered in time, too.
func newFlow(limits limits, asks bool, cancel context.CancelCauseFunc) *flow {
	f := &flow{ticker: time.NewTicker(limits.patience), cancel: cancel, done: make(chan struct{})}
	fair := int64(float64(limits.slowest) * limits.patience.Seconds())
	go func() {
		before := waiting
		for {
			select {
			case <-f.done:
				return
			case <-f.ticker.C:
				phase, moved := f.phase.Load(), f.moved.Swap(0)
				// A phase that has just begun has not had the whole time.
				if phase == before && phase != waiting && moved < fair {
					cancel(&slowness{fmt.Sprintf("less than %d bytes a second went through for %s", limits.slowest, limits.patience)})
				} else if phase == before && phase == waiting && asks {
					cancel(&slowness{fmt.Sprintf("it did not answer within %s", limits.patience)})
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
	// Ends at the limit instead of failing there.
	truncates bool
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.read >= b.limit && b.truncates {
		return 0, io.EOF
	}
	// One byte more than there may be tells an excess from an end.
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
