package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// seccomp is "dropped" (set by the linker) where the real runc was built without libseccomp: it refuses a container with
// a system-call filter, and BuildKit asks for one wherever the kernel could.
var seccomp string

// tracingSocket is where BuildKit mounts the socket of its trace collector, and random the variables that hold the
// trace's random number (moby/buildkit: executor/oci/spec.go, util/tracing/childprocess).
const tracingSocket = "/dev/otel-grpc.sock"

var random = []string{"TRACEPARENT=", "TRACESTATE="}

// dropped are the mounts that a step goes without. The control groups tell the daemon's name, and the host's limits.
var dropped = []string{tracingSocket, "/sys/fs/cgroup"}

// tracing are the variables that BuildKit sets where the recipe has not. A recipe's own, with another value, stay.
var tracing = []string{
	"OTEL_TRACES_EXPORTER=otlp",
	"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=unix://" + tracingSocket,
	"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc",
}

// constants stand in place of the files that BuildKit makes of the host's. No step has a network, so no name is resolved.
var constants = map[string]string{
	"/etc/resolv.conf": "nameserver 127.0.0.1\n",
	"/etc/hosts":       "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n",
}

// object is a JSON object of which only some members are known here; the others stay as they are.
type object = map[string]any

// editBundle changes the bundle's config.json (runtime-spec, config.md), and returns the container's control group.
func editBundle(bundle string) (cgroup string, err error) {
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var config object
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&config); err != nil {
		return "", err
	}
	if config["mounts"], err = mountsWithoutHost(list(config["mounts"]), bundle); err != nil {
		return "", err
	}
	process, linux := member(config, "process"), member(config, "linux")
	process["env"] = slices.DeleteFunc(list(process["env"]), isOfTracing)
	setProcessLimits(process)
	setResources(member(linux, "resources"))
	hideCgroup(linux)
	if seccomp == "dropped" {
		delete(linux, "seccomp")
	}
	if text, err = json.Marshal(config); err != nil {
		return "", err
	}
	cgroup, _ = linux["cgroupsPath"].(string)
	return cgroup, os.WriteFile(path, text, 0o600)
}

func isOfTracing(entry any) bool {
	text, _ := entry.(string)
	return slices.Contains(tracing, text) ||
		slices.ContainsFunc(random, func(name string) bool { return strings.HasPrefix(text, name) })
}

// mountsWithoutHost mounts constants in place of the host's files.
func mountsWithoutHost(mounts []any, bundle string) ([]any, error) {
	kept := []any{}
	for _, entry := range mounts {
		mount, _ := entry.(object)
		destination, _ := mount["destination"].(string)
		if slices.Contains(dropped, destination) {
			continue
		}
		if content, is := constants[destination]; is {
			source, err := constantFile(filepath.Join(bundle, filepath.Base(destination)), content)
			if err != nil {
				return nil, err
			}
			mount["source"] = source
		}
		kept = append(kept, entry)
	}
	return kept, nil
}

// constantFile writes a file of which mode and time are constant too.
func constantFile(path, content string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return "", err
	}
	if err := os.Chmod(path, 0o644); err != nil {
		return "", err
	}
	return path, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0))
}

// hideCgroup adds a namespace of control groups, without which /proc/self/cgroup has the container's random name. BuildKit
// adds one for version 2 alone.
func hideCgroup(linux object) {
	if _, err := os.Stat("/proc/self/ns/cgroup"); err != nil {
		return
	}
	namespaces := list(linux["namespaces"])
	isCgroup := func(entry any) bool {
		namespace, _ := entry.(object)
		return namespace["type"] == "cgroup"
	}
	if !slices.ContainsFunc(namespaces, isCgroup) {
		linux["namespaces"] = append(namespaces, object{"type": "cgroup"})
	}
}

// member returns the object's member of that name, which it makes where there is none.
func member(of object, name string) object {
	found, is := of[name].(object)
	if !is {
		found = object{}
		of[name] = found
	}
	return found
}

func list(value any) []any {
	found, _ := value.([]any)
	return found
}
