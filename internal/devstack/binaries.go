package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// binariesEnv names the directory that holds initdb and postgres. When it is set nothing else is tried, so that a CI job
// which names a version can never pass on another one.
const binariesEnv = "PENSTOCK_POSTGRES_BIN"

// errNoBinaries says what to do; a test must fail with it, never be skipped.
var errNoBinaries = errors.New("no Postgres server found: install one (apt-get install postgresql) or set " +
	binariesEnv + " to the directory of initdb and postgres")

// search says where to look for Postgres.
type search struct {
	layout   string // glob of the distribution's directories, one per version
	cache    string // where downloaded binaries stay; empty means defaultCache
	download string // base URL of a Maven repository with the zonky binaries; empty means Maven Central
}

// find returns the directory of initdb and postgres.
func (s search) find(ctx context.Context) (string, error) {
	if dir := os.Getenv(binariesEnv); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("%s=%s holds no initdb and postgres", binariesEnv, dir)
		}
		return dir, nil
	}
	for _, dir := range s.local(ctx) {
		if complete(dir) {
			return dir, nil
		}
	}
	dir, err := s.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("%w (downloading it failed too: %w)", errNoBinaries, err)
	}
	return dir, nil
}

// local lists the directories worth a look, best first.
func (s search) local(ctx context.Context) []string {
	var dirs []string
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(resolved))
		}
	}
	found, err := filepath.Glob(s.layout)
	if err != nil {
		return dirs
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(majorOf(b), majorOf(a)) })
	return append(dirs, found...)
}

// majorOf reads the version out of .../15/bin; 9 is older than 15, which a comparison of text would deny.
func majorOf(dir string) float64 {
	major, err := strconv.ParseFloat(filepath.Base(filepath.Dir(dir)), 64)
	if err != nil {
		return 0
	}
	return major
}

// complete tells whether dir has the two programs we run.
func complete(dir string) bool {
	return !slices.ContainsFunc([]string{"initdb", "postgres"}, func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err != nil || info.IsDir() || info.Mode()&0o111 == 0
	})
}

// fetch downloads Postgres with embedded-postgres and keeps it for the next time. That library can only download by
// starting a server, and refuses to start one as root, after it has unpacked the binaries: so for root success is what
// lies on the disk. The lock and the marker keep test binaries that run in parallel from seeing half of it.
func (s search) fetch(ctx context.Context) (string, error) {
	home, err := s.home()
	if err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(home, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()

	binaries, marker := filepath.Join(home, "postgres"), filepath.Join(home, "complete")
	bin := filepath.Join(binaries, "bin")
	if _, err := os.Stat(marker); err == nil && complete(bin) {
		return bin, nil
	}
	err = s.downloadTo(ctx, home, binaries)
	if refusedRoot := os.Geteuid() == 0 && complete(bin); err != nil && !refusedRoot {
		return "", err
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return "", err
	}
	return bin, nil
}

// downloadTo lets embedded-postgres unpack its default version into binaries.
func (s search) downloadTo(ctx context.Context, home, binaries string) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(home, "scratch")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()

	cfg := embeddedpostgres.DefaultConfig().Port(uint32(port)).Logger(io.Discard).
		BinariesPath(binaries).CachePath(home).RuntimePath(filepath.Join(scratch, "run"))
	if s.download != "" {
		cfg = cfg.BinaryRepositoryURL(s.download)
	}
	server := embeddedpostgres.NewDatabase(cfg)
	if err := server.Start(); err != nil {
		return err
	}
	return server.Stop()
}

// home returns the directory of downloads, made if missing.
func (s search) home() (string, error) {
	dir := s.cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		if os.Geteuid() == 0 {
			user = "/var/cache" // root's own cache is closed to the user Postgres runs as
		}
		dir = filepath.Join(user, "penstock-postgres")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// lockFile locks path against other processes until the file is closed.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// freePort asks the kernel for a TCP port of the loopback that nobody uses now.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
