package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Failure is the reason of a failed command, printed as one line of JSON.
type failure struct {
	Problem string `json:"problem"`
	Reason  string `json:"reason"`
	// Whether the same command may succeed a little later.
	IsTransient bool `json:"isTransient"`
	// Seconds that the registry asks to wait.
	RetryAfter *int64 `json:"retryAfter"`
}

// WrongBytes is an answer with another digest than the one that was asked for.
type wrongBytes struct{ found string }

func (w *wrongBytes) Error() string { return "it gave " + w.found }

const textLimit = 500

func failureOf(err error, last answer) failure {
	found := classify(err)
	isPage := strings.HasPrefix(strings.ToLower(last.contentType), "text/html")
	if isPage && (found.Problem == "wrong-bytes" || found.Problem == "failed") {
		found = failure{Problem: "not-a-registry", Reason: fmt.Sprintf("it answers with a web page (%s)", last.contentType)}
	}
	if found.Problem == "overloaded" || found.Problem == "server-error" {
		found.RetryAfter = secondsOf(last.retryAfter)
	}
	if len(found.Reason) > textLimit {
		found.Reason = strings.ToValidUTF8(found.Reason[:textLimit], "")
	}
	return found
}

// SecondsOf parses a Retry-After header (RFC 9110, 10.2.3): a number of seconds, or a date.
func secondsOf(retryAfter string) *int64 {
	retryAfter = strings.TrimSpace(retryAfter)
	if seconds, err := strconv.ParseUint(retryAfter, 10, 30); err == nil {
		found := int64(seconds)
		return &found
	}
	date, err := http.ParseTime(retryAfter)
	if err != nil {
		return nil
	}
	found := int64(math.Max(0, math.Ceil(time.Until(date).Seconds())))
	return &found
}

func classify(err error) failure {
	var (
		refused *refusal
		toobig  *excess
		wrong   *wrongBytes
		slow    *slowness
		silent  *silence
		status  *transport.Error
		network net.Error
	)
	switch {
	case errors.As(err, &refused):
		return failure{Problem: "unsafe", Reason: refused.reason}
	case errors.As(err, &toobig):
		return failure{Problem: "wrong-bytes", Reason: toobig.Error()}
	case errors.As(err, &wrong):
		return failure{Problem: "wrong-bytes", Reason: wrong.Error()}
	case errors.As(err, &slow):
		return failure{Problem: "cut-off", Reason: slow.reason, IsTransient: true}
	case errors.As(err, &status):
		return statusFailure(status)
	case errors.As(err, &silent):
		return failure{Problem: "unreachable", Reason: silent.reason, IsTransient: true}
	case isUntrusted(err):
		return failure{Problem: "unreachable", Reason: innermost(err)}
	case isCutOff(err):
		return failure{Problem: "cut-off", Reason: innermost(err), IsTransient: true}
	case isUnreachable(err):
		return failure{Problem: "unreachable", Reason: innermost(err), IsTransient: mayReturn(err)}
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return failure{Problem: "cut-off", Reason: innermost(err), IsTransient: true}
	}
	return failure{Problem: "failed", Reason: innermost(err)}
}

// The codes of the distribution specification ("Error Codes"), and others that registries use.
var problemOfCode = map[transport.ErrorCode]string{
	transport.UnauthorizedErrorCode:    "refused",
	transport.DeniedErrorCode:          "refused",
	transport.ManifestUnknownErrorCode: "absent",
	transport.NameUnknownErrorCode:     "absent",
	transport.NameInvalidErrorCode:     "absent",
	transport.BlobUnknownErrorCode:     "absent",
	"NOT_FOUND":                        "absent",
	transport.TooManyRequestsErrorCode: "overloaded",
	transport.UnknownErrorCode:         "server-error",
	transport.UnavailableErrorCode:     "server-error",
}

func statusFailure(status *transport.Error) failure {
	problem := "failed"
	switch code := status.StatusCode; {
	case len(status.Errors) > 0:
		for _, diagnostic := range status.Errors {
			if known, ok := problemOfCode[diagnostic.Code]; ok {
				problem = known
				break
			}
		}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		problem = "refused"
	case code == http.StatusNotFound:
		problem = "absent"
	case code == http.StatusTooManyRequests:
		problem = "overloaded"
	case code >= 500:
		problem = "server-error"
	}
	at := ""
	if status.Request != nil {
		first, _ := firstOf(status.Request)
		at = first.URL.Path
		// Leaves out the URL, which is named already and may have a token in its query.
		status.Request = nil
	}
	if problem == "absent" && !strings.Contains(at, "/manifests/") && !strings.Contains(at, "/blobs/") {
		// A registry answers 404 only for a manifest or blob.
		reason := fmt.Sprintf("it answers %d at %s, where every registry has something", status.StatusCode, at)
		return failure{Problem: "not-a-registry", Reason: reason}
	}
	return failure{Problem: problem, Reason: status.Error(), IsTransient: problem == "overloaded" || problem == "server-error"}
}

func isUntrusted(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
	)
	return errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &host)
}

func isUnreachable(err error) bool {
	var (
		operation *net.OpError
		name      *net.DNSError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	return errors.As(err, &operation) && (operation.Op == "dial" || operation.Op == "proxyconnect") ||
		errors.As(err, &name) || errors.As(err, &record) || errors.As(err, &alert) ||
		// The type of this error is not exported (net/http, tlsHandshakeTimeoutError).
		strings.Contains(err.Error(), "TLS handshake timeout")
}

// MayReturn distinguishes a server that restarts from a wrong address.
func mayReturn(err error) bool {
	var name *net.DNSError
	if errors.As(err, &name) {
		return name.IsTemporary && !name.IsNotFound
	}
	var network net.Error
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &network) && network.Timeout()
}

func isCutOff(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// MayRetry reports what is retried at once: what go-containerregistry retries, but nothing final.
func mayRetry(err error) bool {
	if err == nil {
		return false
	}
	found := classify(err)
	if found.Problem == "unsafe" || found.Problem == "wrong-bytes" || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var slow *slowness
	if errors.As(err, &slow) {
		return false
	}
	var status interface{ Temporary() bool }
	return errors.As(err, &status) && status.Temporary() || isCutOff(err) || errors.Is(err, syscall.ECONNREFUSED)
}

// Innermost returns an error's message without the request, which is named already.
func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || !strings.Contains(err.Error(), "://") {
			return err.Error()
		}
		err = inner
	}
}
