// Command runc-hermetic is the runc that builders start containers with. Before it starts the real runc, which lies
// beside it as runc.real, it edits the container's config.json: it takes out what BuildKit brings in of the host or of
// chance, and sets limits. It measures the memory of what it runs. No digest of a recipe that reads none of these
// depends on it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "runc-hermetic: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	real := filepath.Join(filepath.Dir(self), "runc.real")
	if bundle, creates := bundleOf(args[1:]); creates {
		cgroup, err := editBundle(bundle)
		if err != nil {
			return fmt.Errorf("can't edit the bundle %s: %w", bundle, err)
		}
		if outlivesRun(args[1:]) && cgroup != "" {
			return runMeasured(real, args[1:], cgroup)
		}
	}
	return syscall.Exec(real, append([]string{real}, args[1:]...), os.Environ())
}

// bundleOf returns whether the command creates a container, and from which bundle; runc's default is the current folder.
func bundleOf(args []string) (bundle string, creates bool) {
	bundle = "."
	for i, arg := range args {
		switch {
		case arg == "run" || arg == "create":
			creates = true
		case (arg == "--bundle" || arg == "-b") && i+1 < len(args):
			bundle = args[i+1]
		case strings.HasPrefix(arg, "--bundle="):
			bundle = strings.TrimPrefix(arg, "--bundle=")
		}
	}
	return bundle, creates
}
