package devstack

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopWithin is more than the service's own shutdown timeout.
const stopWithin = 10 * time.Second

// Child is a process that runs beside us until it is stopped or killed, and at most as long as we do.
type Child struct{ *running }

// Launch starts a process, which runs until it is stopped or killed. What it prints is appended to a file.
func Launch(log, program string, args ...string) (*Child, error) {
	const ownerOnly = 0o600
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, ownerOnly)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has a handle of its own
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attributes(nil, syscall.SIGKILL)
	r, err := run(cmd)
	if err != nil {
		return nil, err
	}
	return &Child{r}, nil
}

// Stop asks the process to end, and kills it when it does not.
func (p *Child) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended already
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.Kill()
	}
}

// Kill ends the process as the kernel does when memory runs out. It is false if the process had ended before.
func (p *Child) Kill() bool {
	select {
	case <-p.done:
		return false
	default:
	}
	_ = p.cmd.Process.Kill() // fails when it has ended this very moment
	<-p.done
	return true
}

// Freeze stops the process without its knowledge, as a machine does that is out of breath, until Thaw.
func (p *Child) Freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Child) Thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Done is closed when the process has ended.
func (p *Child) Done() <-chan struct{} { return p.done }

// Err says how the process has ended, once it has.
func (p *Child) Err() error {
	<-p.done
	return p.err
}

// PID is the process's id.
func (p *Child) PID() int { return p.cmd.Process.Pid }
