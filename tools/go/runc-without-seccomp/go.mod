module stagex/tools/runc-without-seccomp

go 1.26.8
