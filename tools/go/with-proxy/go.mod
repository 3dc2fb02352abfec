module stagex/tools/with-proxy

go 1.26.8

require (
	golang.org/x/net v0.59.0
)
