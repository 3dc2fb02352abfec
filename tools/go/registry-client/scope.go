package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Scope is how near to this machine an address is. A registry may redirect to no nearer one than its own.
type scope int

const (
	unknown scope = iota
	public
	private
	loopback
	// The metadata of cloud machines and the like, and addresses that no peer can have.
	linkLocal
)

func (s scope) String() string {
	return [...]string{"an unknown address", "a public address", "a private address", "a loopback address", "a link-local address"}[s]
}

// The lists are those of lib/net/address-scope.ts.
var (
	// Hosts of this network (RFC 1122), and reserved addresses.
	nowhere = prefixes("0.0.0.0/8", "240.0.0.0/4")
	// Carriers' NAT (RFC 6598), site-local (formerly RFC 3513), local translation to IPv4 (RFC 8215), IETF protocols
	// (RFC 6890) and benchmarks (RFC 2544).
	inner = prefixes("100.64.0.0/10", "fec0::/10", "64:ff9b:1::/48", "192.0.0.0/24", "198.18.0.0/15")
	// IPv6 addresses that end in an IPv4 one: translated (RFC 2765), compatible (RFC 4291) and NAT64 (RFC 6052).
	carriers = prefixes("::ffff:0:0:0/96", "::/96", "64:ff9b::/96")
	// IPv6 addresses with an IPv4 one after their first 16 bits: 6to4 (RFC 3056).
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

// IsOwn reports whether an interface of this machine has the address. Interfaces are listed each time: they come and go.
func isOwn(address netip.Addr) bool {
	// A sandbox may forbid it; the well-known networks are recognized all the same.
	own, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(each net.Addr) bool {
		network, ok := each.(*net.IPNet)
		return ok && network.IP.Equal(address.AsSlice())
	})
}

func scopeOf(address netip.Addr) scope {
	// A prefix contains no address with a zone, which does not change the scope.
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
		return scopeOf(netip.AddrFrom4([4]byte(bytes[12:])))
	case isIn(sixToFour, address):
		bytes := address.As16()
		return scopeOf(netip.AddrFrom4([4]byte(bytes[2:6])))
	}
	return public
}

// ScopeOfAddress returns the scope of an `address:port` that is connected to.
func scopeOfAddress(text string) scope {
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		return linkLocal
	}
	return scopeOf(address.Addr())
}

// ScopeOfName returns the scope of a host that is an address or a name of the loopback; unknown for other names.
func scopeOfName(host string) scope {
	if name := strings.TrimSuffix(host, "."); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return loopback
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return unknown
	}
	return scopeOf(address)
}

// IsLoopbackName excludes `x.localhost`, which some resolvers ask the network for, and the addresses of interfaces:
// clear text must not depend on the machine.
func isLoopbackName(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// Hostname returns a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if len(host) > 1 && host[0] == '[' {
		return host[1 : len(host)-1]
	}
	return host
}
