package deadletter
import ("testing";"time";"fmt";"os";"strings";"github.com/jackc/pgx/v5")
func BenchmarkZZ(b *testing.B) {
	s := letters(b)
	conn, _ := s.pool.Acquire(b.Context())
	defer conn.Release()
	ago := func(days float64) time.Time { return time.Now().Add(-time.Duration(days * 24 * float64(time.Hour))) }
	var out strings.Builder
	for name, f := range map[string]Filter{"since60": {Since: ago(60), States: []State{Dead, Parked, Retrying}}, "never": {MaxReplays: new(int)}} {
		for _, set := range []string{"set work_mem='4MB'", "set work_mem='64MB'", "set max_parallel_workers_per_gather=0"} {
		conn.Exec(b.Context(), set)
		from, args := f.counted(false)
		for range 2 {
		rows, err := conn.Query(b.Context(), "explain (analyze, buffers) select state, mapping, object, error_code, sum(letters)::bigint as count, min(first_seen) as first_seen, max(last_seen) as last_seen from ("+from+") as c group by state, mapping, object, error_code having sum(letters) > 0 order by count desc", args)
		if err != nil { b.Fatal(err) }
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil { b.Fatal(err) }
		fmt.Fprintln(&out, name, set); fmt.Fprintln(&out, strings.Join(lines, "\n"))
		}
		}
	}
	os.WriteFile("/tmp/zz.txt", []byte(out.String()), 0o600)
}
