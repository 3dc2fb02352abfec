package main

import (
	"io"
	"net"
	"os"
)

// forward hands on what comes to the listeners that this process has got.
func forward() error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	if names, err := net.FilePacketConn(os.NewFile(4, "names")); err == nil {
		go answerNames(names)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go handOn(connection)
	}
}

// handOn ends with the answers: what a client sends after them reaches nobody.
func handOn(client net.Conn) {
	defer client.Close()
	upstream, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer upstream.Close()
	go func() {
		io.Copy(upstream, client)
		upstream.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(client, upstream)
}
