package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopWithin is more than the service's own shutdown timeout.
const stopWithin = 10 * time.Second

// instance is one process of the service.
type instance struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// launch starts an instance, which runs until it is stopped or killed.
//
// The death signal of the parent fires when the thread that forked the child ends, so the goroutine that waits for the
// child is also the one that starts it, locked to its thread.
func launch(binary, config, log string) (*instance, error) {
	const ownerOnly = 0o600
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, ownerOnly)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), binary, "run", "-c", config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attributes()
	p := &instance{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		defer out.Close()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start an instance: %w", err)
	}
	return p, nil
}

// stop asks the process to end, and kills it when it does not.
func (p *instance) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended already
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.kill()
	}
}

// kill ends the process as the kernel does when memory runs out. It is false if the process had ended before.
func (p *instance) kill() bool {
	select {
	case <-p.done:
		return false
	default:
	}
	_ = p.cmd.Process.Kill() // fails when it has ended this very moment
	<-p.done
	return true
}
