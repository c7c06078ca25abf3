package reads_test

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkAsk measures an ask for a fresh answer of 200 KB, of which there are two: from the memory of the instance, and from the
// bucket by an instance whose memory holds only one at a time.
func BenchmarkAsk(b *testing.B) {
	for _, bench := range []struct {
		from   string
		memory int64
	}{{"memory", 64 << 20}, {"bucket", 1}} {
		b.Run("from="+bench.from, func(b *testing.B) {
			s := newShared(b, 64<<20)
			for i := range 100 {
				s.source.records = append(s.source.records, fmt.Sprintf(`{"Id":"%018d","Text":%q}`, i, noise(uint64(i), 2000)))
			}
			r := s.instanceOf(bench.memory)
			ask := func(i int) {
				if _, err := r.AskJSON(b.Context(), "q", fmt.Appendf(nil, `{"name":"%d"}`, i%2)); err != nil {
					b.Fatal(err)
				}
			}
			ask(0)
			ask(1)
			for deadline := time.Now().Add(10 * time.Second); len(s.keys()) < 2 && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				ask(i)
			}
			if calls := s.source.asked(); calls != 2 {
				b.Errorf("Salesforce was asked %d times", calls)
			}
		})
	}
}
