package main

import (
	"net"
	"net/netip"
	"slices"
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

// The lists are those of lib/address-reach.ts.
var (
	// Hosts of this network and of none (RFC 1122), and reserved ones.
	nowhere = prefixes("0.0.0.0/8", "240.0.0.0/4")
	// The carriers' (RFC 6598), site-local ones (once RFC 3513), a network's own translation to IPv4 (RFC 8215), its protocols'
	// (RFC 6890), and those for measurements (RFC 2544).
	inner = prefixes("100.64.0.0/10", "fec0::/10", "64:ff9b:1::/48", "192.0.0.0/24", "198.18.0.0/15")
	// IPv6 addresses that end in an IPv4 one: translated (RFC 2765), compatible (RFC 4291), and through NAT64 (RFC 6052).
	carriers = prefixes("::ffff:0:0:0/96", "::/96", "64:ff9b::/96")
	// Those that have it behind their first 16 bits: 6to4 (RFC 3056).
	sixToFour = prefixes("2002::/16")
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func isIn(list []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(list, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

// IsOwn tells whether an interface of this machine has the address, asked for anew each time: they come and go with networks.
func isOwn(address netip.Addr) bool {
	// A sandbox may refuse the question; the well-known networks are told all the same.
	own, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(each net.Addr) bool {
		network, ok := each.(*net.IPNet)
		return ok && network.IP.Equal(address.AsSlice())
	})
}

func reachOf(address netip.Addr) reach {
	// A prefix holds no address with a zone, which is no part of where it is.
	address = address.Unmap().WithZone("")
	switch {
	case address.IsLoopback():
		return loopback
	case address.IsLinkLocalUnicast(), address.IsMulticast(), address.IsUnspecified(), isIn(nowhere, address):
		return linkLocal
	case address.String() == "fd00:ec2::254":
		return linkLocal
	case isOwn(address):
		return loopback
	case address.IsPrivate(), isIn(inner, address):
		return private
	case isIn(carriers, address):
		bytes := address.As16()
		return reachOf(netip.AddrFrom4([4]byte(bytes[12:])))
	case isIn(sixToFour, address):
		bytes := address.As16()
		return reachOf(netip.AddrFrom4([4]byte(bytes[2:6])))
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

// IsLoopbackName leaves out `x.localhost`, which some resolvers ask the network for, and the addresses of interfaces: what may be
// asked in clear text must not depend on the machine.
func isLoopbackName(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
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
