package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sampling is how often a running container's memory is looked at. What takes less time can't hold much of it.
const sampling = 200 * time.Millisecond

// outlivesRun returns whether the container is run, and its control group is there afterwards: BuildKit has runc keep it
// (runc run --keep), as it reads there too what the kernel killed (moby/buildkit: executor/runcexecutor).
func outlivesRun(args []string) bool {
	return slices.Contains(args, "run") && slices.Contains(args, "--keep")
}

// runMeasured runs the real runc, reports on stderr, which is the step's own, what memory the container took, and exits
// as runc does.
func runMeasured(real string, args []string, cgroup string) error {
	// The kernel ends runc when the thread that has started it ends (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	command := exec.Command(real, args...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	report := memory{folder: memoryFolder(cgroup)}
	ticker := time.NewTicker(sampling)
	for {
		select {
		case <-ticker.C:
			report.sample()
		case received := <-signals:
			// The others are this process's own: a child's end, the Go scheduler's, a reader that went away.
			if !slices.Contains([]os.Signal{syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE}, received) {
				_ = command.Process.Signal(received)
			}
		case err := <-ended:
			report.finish()
			report.print()
			return exitAs(err)
		}
	}
}

func exitAs(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, is := exit.Sys().(syscall.WaitStatus); is && status.Signaled() {
		os.Exit(128 + int(status.Signal()))
	}
	os.Exit(exit.ExitCode())
	return nil
}

// memory is what a container takes, in bytes. What the kernel could drop, the cache of files, does not count: it grows to
// whatever there is.
type memory struct {
	folder string
	peak   int64
	killed int64
}

// memoryFolder is where the kernel shows the control group's memory, in version 1 or 2.
func memoryFolder(cgroup string) string {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		return filepath.Join(cgroups, cgroup)
	}
	return filepath.Join(cgroups, "memory", cgroup)
}

// sample looks at what the container holds now: anonymous memory and what is shared (tmpfs), its children's included.
func (of *memory) sample() {
	stat := fieldsOf(filepath.Join(of.folder, "memory.stat"))
	held := stat["anon"] + stat["shmem"]
	if _, is := stat["total_rss"]; is {
		held = stat["total_rss"] + stat["total_shmem"]
	}
	of.peak = max(of.peak, held)
}

// finish looks once more when the container has ended, for what the kernel has killed for want of memory. What was killed
// did hold what it was charged for: it had nothing left to drop. So did, at most, what was over before the first sample.
func (of *memory) finish() {
	of.killed = fieldsOf(filepath.Join(of.folder, "memory.events"))["oom_kill"] +
		fieldsOf(filepath.Join(of.folder, "memory.oom_control"))["oom_kill"]
	if of.killed == 0 && of.peak > 0 {
		return
	}
	for _, file := range []string{"memory.peak", "memory.max_usage_in_bytes"} {
		if charged, err := strconv.ParseInt(strings.TrimSpace(read(filepath.Join(of.folder, file))), 10, 64); err == nil {
			of.peak = max(of.peak, charged)
		}
	}
}

// print writes the line that the builder's client looks for (buildkit/step-memory.ts).
func (of *memory) print() {
	if of.peak > 0 {
		fmt.Fprintf(os.Stderr, "stagex-memory: peak=%d killed=%d\n", of.peak, of.killed)
	}
}

// fieldsOf returns the numbers of a file with a name and a number in each line.
func fieldsOf(path string) map[string]int64 {
	found := map[string]int64{}
	for line := range strings.Lines(read(path)) {
		if name, text, is := strings.Cut(strings.TrimSpace(line), " "); is {
			if number, err := strconv.ParseInt(text, 10, 64); err == nil {
				found[name] = number
			}
		}
	}
	return found
}
