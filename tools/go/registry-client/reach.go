package main

import (
	"net"
	"net/netip"
	"strings"
)

// Reach is how near to this machine an address is. A registry may lead us to no nearer one than its own.
type reach int

const (
	unknown reach = iota
	public
	private
	loopback
	// Cloud machines' metadata and the like; and addresses that are none of a peer.
	linkLocal
)

func (r reach) String() string {
	return [...]string{"an unknown address", "a public address", "a private address", "a loopback address", "a link-local address"}[r]
}

// The shared address space of carriers (RFC 6598), and the prefix through which IPv6 reaches all of IPv4 (RFC 6052).
var (
	shared      = netip.MustParsePrefix("100.64.0.0/10")
	translation = netip.MustParsePrefix("64:ff9b::/96")
)

func reachOf(address netip.Addr) reach {
	address = address.Unmap()
	if translation.Contains(address) {
		bytes := address.As16()
		return reachOf(netip.AddrFrom4([4]byte(bytes[12:])))
	}
	switch {
	case address.IsLoopback():
		return loopback
	case address.IsLinkLocalUnicast(), address.IsMulticast(), address.IsUnspecified():
		return linkLocal
	case address.String() == "fd00:ec2::254":
		return linkLocal
	case address.IsPrivate(), shared.Contains(address):
		return private
	}
	return public
}

// ReachOfAddress is the reach of an `address:port` that is connected to.
func reachOfAddress(text string) reach {
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		return linkLocal
	}
	return reachOf(address.Addr())
}

// ReachOfName is what a host's name tells by itself: nothing unless it is an address, or this machine's own.
func reachOfName(host string) reach {
	if name := strings.TrimSuffix(host, "."); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return loopback
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return unknown
	}
	return reachOf(address)
}

// IsLoopbackName leaves out `x.localhost`, which some resolvers ask the network for.
func isLoopbackName(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && reachOf(address) == loopback
}

// Hostname is a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if len(host) > 1 && host[0] == '[' {
		return host[1 : len(host)-1]
	}
	return host
}
