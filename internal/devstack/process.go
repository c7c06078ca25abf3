package devstack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// goneAfter bounds the wait for the children of a killed server to let go of its log.
const goneAfter = 20 * time.Second

// account is who runs Postgres; nil is ourselves.
type account struct{ uid, gid uint32 }

// serverAccount picks who runs Postgres: it refuses to run as root, so root hands it to postgres or nobody.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("uid of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("gid of %s: %w", name, err)
		}
		return &account{uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("postgres cannot run as root, and there is no user postgres or nobody to run it as")
}

// own gives path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// command prepares a program of Postgres. Its working directory is one the account may enter, and of our environment it
// sees nothing that could change it (PGPORT, PGOPTIONS, LC_ALL).
func (a *account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = attributes(a, syscall.SIGQUIT) // Postgres' immediate shutdown
	return cmd
}

// running is a command that was started.
type running struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended, and every child holding its output is gone
	err  error         // how it ended; read after done
}

// run starts cmd and waits for its end beside.
//
// The parent-death signal fires when the OS thread that forked the child ends, not the process. So the goroutine that
// waits for the child is also the one that starts it, locked to its thread: the thread lives exactly as long as the child.
func run(cmd *exec.Cmd) (*running, error) {
	r := &running{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(r.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			r.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-r.done
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return r, nil
}

// process is one running server.
type process struct {
	*running
	log *tail
}

// start runs a server, and keeps the last lines that it writes.
func start(cmd *exec.Cmd) (*process, error) {
	log := &tail{limit: 16 << 10}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = goneAfter
	r, err := run(cmd)
	if err != nil {
		return nil, err
	}
	return &process{r, log}, nil
}

// end sends sig and waits until the process and its children are gone.
func (p *process) end(sig os.Signal) error {
	// Fails when the process has ended already, which is what we want.
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
		return nil
	case <-time.After(goneAfter):
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not end within %v of %v and was killed", p.cmd.Path, goneAfter, sig)
	}
}

// tail keeps the last lines a server wrote, to explain why it does not start.
type tail struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	limit int
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if n > t.limit {
		b = b[n-t.limit:]
	}
	t.buf.Next(max(0, t.buf.Len()+len(b)-t.limit))
	t.buf.Write(b)
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
