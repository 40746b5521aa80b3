// The toolbox is what a node's pods run while no image of Coterie is needed: the pause container of each sandbox,
// and a few words to try volumes, Services and names with. It stands alone in its image, so it needs no shell.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = "usage: toolbox pause | serve ADDRESS TEXT | get URL | write PATH TEXT | read PATH | fill MEBIBYTES"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "toolbox:", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	switch {
	case len(words) == 1 && words[0] == "pause":
		pause()
		return nil
	case len(words) == 3 && words[0] == "serve":
		return serve(words[1], words[2])
	case len(words) == 2 && words[0] == "get":
		return get(words[1])
	case len(words) == 3 && words[0] == "write":
		return os.WriteFile(words[1], []byte(words[2]+"\n"), 0o600)
	case len(words) == 2 && words[0] == "read":
		content, err := os.ReadFile(words[1])
		os.Stdout.Write(content)
		return err
	case len(words) == 2 && words[0] == "fill":
		return fill(words[1])
	}
	return fmt.Errorf("%q; %s", words, usage)
}

// pause reaps what is left to process 1 and ends when it is told to.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for each := range signals {
		if each != syscall.SIGCHLD {
			return
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}

// serve answers every request with the text, and ends when it is told to.
func serve(address, text string) error {
	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(
		func(answer http.ResponseWriter, request *http.Request) {
			fmt.Println(request.Method, request.URL.Path)
			fmt.Fprintln(answer, text)
		})}
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
		server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func get(url string) error {
	client := &http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// fill takes memory, and touches it so that it counts, then waits.
func fill(mebibytes string) error {
	var count int
	if _, err := fmt.Sscanf(mebibytes, "%d", &count); err != nil {
		return fmt.Errorf("fill %q: %w", mebibytes, err)
	}
	held := make([]byte, count<<20)
	for index := 0; index < len(held); index += 4096 {
		held[index] = 1
	}
	fmt.Println("holding", count, "MiB")
	pause()
	return nil
}
