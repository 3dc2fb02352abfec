module stagex/tools/runc-hermetic

go 1.26.8
