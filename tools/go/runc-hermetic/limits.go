package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	cgroups = "/sys/fs/cgroup"
	// mostProcesses is what one step may have at once, threads included.
	mostProcesses = 32 * 1024
	// leastReserve is the memory that a step leaves to the machine at least, in bytes.
	leastReserve = 256 << 20
	// unlimited is RLIM_INFINITY.
	unlimited uint64 = math.MaxUint64
)

// rlimits are the limits that a step would else inherit from whoever started the daemon (getrlimit(2)), with their numbers
// of asm-generic/resource.h.
var rlimits = []struct {
	name       string
	number     int
	soft, hard uint64
}{
	{"RLIMIT_CPU", 0, unlimited, unlimited},
	{"RLIMIT_FSIZE", 1, unlimited, unlimited},
	{"RLIMIT_DATA", 2, unlimited, unlimited},
	{"RLIMIT_STACK", 3, 8 << 20, unlimited},
	{"RLIMIT_CORE", 4, 0, 0},
	{"RLIMIT_RSS", 5, unlimited, unlimited},
	{"RLIMIT_NPROC", 6, mostProcesses, mostProcesses},
	{"RLIMIT_MEMLOCK", 8, 8 << 20, 8 << 20},
	{"RLIMIT_AS", 9, unlimited, unlimited},
	{"RLIMIT_LOCKS", 10, unlimited, unlimited},
	{"RLIMIT_SIGPENDING", 11, 16384, 16384},
	{"RLIMIT_MSGQUEUE", 12, 819200, 819200},
	{"RLIMIT_NICE", 13, 0, 0},
	{"RLIMIT_RTPRIO", 14, 0, 0},
	{"RLIMIT_RTTIME", 15, unlimited, unlimited},
}

// oomScore makes it a step that the kernel ends where the machine runs out of memory, and not the daemon, whose own
// score a step would else inherit (proc_pid_oom_score_adj(5)).
const oomScore = 500

// setProcessLimits sets every rlimit that BuildKit was told nothing of. What this process may not raise stays lower.
func setProcessLimits(process object) {
	own, _ := strconv.Atoi(strings.TrimSpace(read("/proc/self/oom_score_adj")))
	process["oomScoreAdj"] = max(own, oomScore)
	set := list(process["rlimits"])
	isSet := func(name string) bool {
		return slices.ContainsFunc(set, func(entry any) bool {
			limit, _ := entry.(object)
			return limit["type"] == name
		})
	}
	for _, limit := range rlimits {
		if isSet(limit.name) {
			continue
		}
		most := unlimited
		var own syscall.Rlimit
		if syscall.Getrlimit(limit.number, &own) == nil {
			most = own.Max
		}
		set = append(set, object{"type": limit.name, "soft": min(limit.soft, most), "hard": min(limit.hard, most)})
	}
	process["rlimits"] = set
}

// setResources bounds a step's processes and memory (runtime-spec, config-linux.md "Control groups"), as far as the
// kernel has the controllers for it. STAGEX_RUN_PROCESSES and STAGEX_RUN_MEMORY (bytes) in the daemon's environment set others.
func setResources(resources object) {
	if hasController("pids") {
		member(resources, "pids")["limit"] = setting("STAGEX_RUN_PROCESSES", processLimit())
	}
	if limit := setting("STAGEX_RUN_MEMORY", memoryLimit()); limit > 0 && hasController("memory") {
		member(resources, "memory")["limit"] = limit
	}
}

// processLimit leaves the machine half of all process numbers it has.
func processLimit() int64 {
	limit := int64(mostProcesses)
	for _, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		if most, err := strconv.ParseInt(strings.TrimSpace(read(file)), 10, 64); err == nil {
			limit = min(limit, most/2)
		}
	}
	return limit
}

// memoryLimit is all of the machine's memory but a sixteenth; 0 where its size is not known.
func memoryLimit() int64 {
	for line := range strings.Lines(read("/proc/meminfo")) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "MemTotal:" {
			continue
		}
		kibibytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0
		}
		total := kibibytes << 10
		return max(total-max(total/16, leastReserve), total/2)
	}
	return 0
}

// hasController returns whether runc can set that controller's limits. In version 2 (the kernel's cgroup-v2.rst, "No Internal
// Process Constraint") a cgroup that has processes itself can hand on no controller; only the root of all may.
func hasController(name string) bool {
	controllers, err := os.ReadFile(filepath.Join(cgroups, "cgroup.controllers"))
	if err != nil {
		_, err := os.Stat(filepath.Join(cgroups, name))
		return err == nil
	}
	has := func(text string) bool { return slices.Contains(strings.Fields(text), name) }
	if !has(string(controllers)) {
		return false
	}
	_, err = os.Stat(filepath.Join(cgroups, "cgroup.type"))
	isRoot := os.IsNotExist(err)
	isEmpty := strings.TrimSpace(read(filepath.Join(cgroups, "cgroup.procs"))) == ""
	return isRoot || isEmpty || has(read(filepath.Join(cgroups, "cgroup.subtree_control")))
}

func setting(name string, standard int64) int64 {
	if value, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil && value > 0 {
		return value
	}
	return standard
}

// read returns a file's text; an empty one where it can't be read.
func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
