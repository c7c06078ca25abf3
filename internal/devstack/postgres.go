package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// shortDir is where data and socket live, not TMPDIR: the path of a unix socket holds about 107 bytes, and the
	// user the server runs as must be able to enter every parent.
	shortDir = "/tmp"

	dirPrefix = "penstock-pg-"
	lockName  = "lock" // in the directory, locked as long as the process that made it lives

	socketPort = 5432 // part of the socket's file name; no TCP port

	readyWithin = 60 * time.Second
	readyPoll   = 20 * time.Millisecond
)

// PostgresOptions choose how Postgres is reached, and what a commit costs.
type PostgresOptions struct {
	// TCP also listens on a port of the loopback, kept over restarts, and DSN then names that port. Anybody on this
	// machine can connect as superuser.
	TCP bool
	// Port is the port with TCP. Defaults to a free one.
	Port int
	// Sync puts every commit on the disk before it is acknowledged, as a server that is not thrown away does. For figures.
	Sync bool
}

// Postgres is a throw-away server. All methods may be used by several goroutines.
type Postgres struct {
	dir  string // socket, and the data in a folder of it
	bin  string
	port int // TCP port, or 0
	sync bool
	user *account
	lock *os.File

	mu        sync.Mutex
	running   *process // nil when stopped or killed
	databases int
}

// StartPostgres initializes a new cluster in a temporary directory and returns when it answers. It needs the binaries of
// a server: from PENSTOCK_POSTGRES_BIN, pg_config, PATH, /usr/lib/postgresql, or downloaded; if there are none the error
// says what to install.
//
// Without Sync it does not fsync, so data survives Kill but not a power cut. A commit is still written to the kernel before it is
// acknowledged, so crash tests mean what they say.
func StartPostgres(ctx context.Context, opts PostgresOptions) (*Postgres, error) {
	bin, err := search{layout: "/usr/lib/postgresql/*/bin"}.find(ctx)
	if err != nil {
		return nil, err
	}
	sweep()
	p := &Postgres{bin: bin, port: opts.Port, sync: opts.Sync}
	if !opts.TCP {
		p.port = 0
	} else if p.port == 0 {
		if p.port, err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.create(ctx); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

// create makes the directory and the cluster in it.
func (p *Postgres) create(ctx context.Context) error {
	var err error
	if p.user, err = serverAccount(); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp(shortDir, dirPrefix+strconv.Itoa(os.Getpid())+"-"); err != nil {
		return err
	}
	if p.lock, err = lockFile(filepath.Join(p.dir, lockName), syscall.LOCK_EX); err != nil {
		return err
	}
	if err := p.user.own(p.dir); err != nil {
		return err
	}
	initdb := p.user.command(ctx, p.dir, filepath.Join(p.bin, "initdb"),
		"-D", p.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// start runs the server and waits until it answers. The server outlives ctx: it ends with Stop or Kill.
func (p *Postgres) start(ctx context.Context) error {
	args := []string{"-D", p.data(), "-k", p.dir, "-c", "max_connections=300"}
	if !p.sync {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	if p.port == 0 {
		args = append(args, "-c", "listen_addresses=", "-c", "port="+strconv.Itoa(socketPort))
	} else {
		args = append(args, "-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(p.port))
	}
	cmd := p.user.command(context.WithoutCancel(ctx), p.dir, filepath.Join(p.bin, "postgres"), args...)
	running, err := start(cmd)
	if err != nil {
		return err
	}
	if err := p.ready(ctx, running); err != nil {
		return errors.Join(err, running.end(syscall.SIGQUIT))
	}
	p.running = running
	return nil
}

// ready waits until the server answers.
func (p *Postgres) ready(ctx context.Context, running *process) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := p.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-running.done:
			return fmt.Errorf("postgres ended at once: %w\n%s", running.err, running.log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w\n%s", err, running.log)
		case <-time.After(readyPoll):
		}
	}
}

// answers connects and asks the server who it is: on a port that is taken somebody else answers.
func (p *Postgres) answers(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.DSN())
	if err != nil {
		return err
	}
	var data string
	err = conn.QueryRow(ctx, "show data_directory").Scan(&data)
	if err == nil && data != p.data() {
		err = errors.New("another server has the port")
	}
	return errors.Join(err, conn.Close(ctx))
}

// DSN returns the URL of the maintenance database, for the superuser.
func (p *Postgres) DSN() string { return p.dsn("postgres") }

// dsn returns the URL of a database. It sets whatever PG* variables of the environment could change.
func (p *Postgres) dsn(database string) string {
	query := url.Values{"sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database}
	if p.port == 0 {
		query.Set("host", p.dir)
		query.Set("port", strconv.Itoa(socketPort))
	} else {
		u.Host = "127.0.0.1:" + strconv.Itoa(p.port)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// NewDatabase creates an empty database and returns its URL.
func (p *Postgres) NewDatabase(ctx context.Context) (string, error) {
	p.mu.Lock()
	p.databases++
	name := "db" + strconv.Itoa(p.databases)
	p.mu.Unlock()
	// template0 has no connections, so it can be copied by several tests at once.
	if err := p.exec(ctx, "create database "+name+" template template0"); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return p.dsn(name), nil
}

// DropDatabase removes a database that NewDatabase made, and closes the connections it still has.
func (p *Postgres) DropDatabase(ctx context.Context, dsn string) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	name := pgx.Identifier{cfg.Database}.Sanitize()
	if err := p.exec(ctx, "drop database if exists "+name+" with (force)"); err != nil {
		return fmt.Errorf("drop database: %w", err)
	}
	return nil
}

// exec runs one statement on a connection of its own.
func (p *Postgres) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, p.DSN())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// Kill ends the server with SIGKILL, as a crash would, and keeps the data for Restart.
func (p *Postgres) Kill() error { return p.end(syscall.SIGKILL) }

// Restart starts the server again on its data and address. If it still runs it is stopped first.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.end(syscall.SIGINT); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.start(ctx)
}

// Stop ends the server and removes its data. Stopping twice is harmless.
func (p *Postgres) Stop() error {
	return errors.Join(p.end(syscall.SIGINT), p.remove())
}

// end stops the server if it runs. SIGINT is Postgres' fast shutdown: open transactions are rolled back.
func (p *Postgres) end(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil
	}
	running := p.running
	p.running = nil
	return running.end(sig)
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) remove() error {
	if p.lock != nil {
		p.lock.Close()
	}
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// sweep removes the directories of processes that died before they could stop their server: 40 MB each. What it may not
// touch, or finds locked, belongs to somebody else.
func sweep() {
	dirs, err := filepath.Glob(filepath.Join(shortDir, dirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, lockName)
		if _, err := os.Stat(path); err != nil {
			continue // just being made
		}
		lock, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir)
		lock.Close()
	}
}
