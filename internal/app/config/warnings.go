package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"time"

	"penstock/consumer/mapping"
)

// Warnings returns what is legal but surely not meant, in the order of the file. It looks whether the files that are named
// exist, since they may be put in place later and are no reason to refuse the configuration.
func (c *Config) Warnings() []Warning {
	src := c.source
	if src == nil {
		src = newSource("configuration", "")
	}
	w := &checker{&findings{src: src}, c}
	w.literals()
	w.files()
	w.exposure()
	w.sizes()
	w.flow()
	for i := range c.Mappings {
		w.rule(&c.Mappings[i], i)
	}
	for i := range c.Queries {
		w.unasked(&c.Queries[i], index("queries", i))
	}
	var warnings []Warning
	for _, p := range w.problems() {
		warnings = append(warnings, Warning{p})
	}
	return warnings
}

// warn notes something about a key that stands in the file; of a default, nobody needs to be warned.
func (c *checker) warn(path, message, fix string) {
	if c.src.has(path) {
		at, text := c.src.find(path)
		c.add(path, at, text, message, fix)
	}
}

// literals warns of secrets that stand in the file itself.
func (c *checker) literals() {
	const fix = "take it from the environment, ${NAME}, or from a file, so that it is in no repository and no backup"
	for _, path := range []string{"salesforce.auth.client_secret", "http.token", "nats.url", "database.url"} {
		if c.src.places[path].literal {
			c.warn(path, "the secret itself stands in the file", fix)
		}
	}
}

// files warns of files that are not there.
func (c *checker) files() {
	walkValues(reflect.ValueOf(c.cfg).Elem(), "", func(path string, v reflect.Value) {
		if name, ok := reflect.TypeAssert[File](v); ok && name != "" {
			c.absent(path, name)
		}
	})
	for i, k := range c.cfg.DeadLetters.Keys {
		c.absent(join(index("deadletters.keys", i), "file"), k.File)
	}
}

// absent warns of a file if it is not there.
func (c *checker) absent(path string, name File) {
	if _, err := os.Stat(string(name)); err != nil {
		which := quote(string(name))
		if c.src.places[path].expanded {
			which = "it names"
		}
		c.warn(path, fmt.Sprintf("the file %s cannot be found", which),
			"put it in place before the service starts; relative paths start at the folder of the configuration")
	}
}

// walkValues visits every value of the sections. Lists are left out.
func walkValues(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	for field := range fieldsOf(v.Type()) {
		at, value := join(path, field.Tag.Get("yaml")), v.FieldByIndex(field.Index)
		if isSection(value.Type()) {
			walkValues(value, at, visit)
			continue
		}
		visit(at, value)
	}
}

// exposure warns of what others on the network can see or cannot reach.
func (c *checker) exposure() {
	if host, _, err := net.SplitHostPort(c.cfg.HTTP.Addr); err == nil && !isLoopback(host) && c.cfg.HTTP.Token.IsZero() {
		c.warn("http.addr", "others can reach this address, but without http.token control and payloads are refused to them",
			"set http.token, or listen on 127.0.0.1")
	}
	u, err := url.Parse(c.cfg.Database.URL.Reveal())
	if err == nil && u.Query().Get("sslmode") == "disable" && u.Hostname() != "" && !isLoopback(u.Hostname()) {
		c.warn("database.url", "the connection to another machine is not encrypted", "use sslmode=verify-full")
	}
}

// sizes warns of bounds that keep batches from filling.
func (c *checker) sizes() {
	records := c.cfg.Batch.MaxRecords
	for _, limit := range []struct {
		path  string
		value int
	}{{"source.max_ack_pending", c.cfg.Source.MaxAckPending}, {"source.max_in_flight", c.cfg.Source.MaxInFlight}} {
		if limit.value < records {
			c.warn(limit.path, fmt.Sprintf("a batch of %d records can never fill", records), "write several times batch.max_records")
		}
	}
	if c.cfg.Reads.DailyCallShare > c.cfg.Salesforce.DailyCallShare {
		c.warn("reads.daily_call_share", "queries go on asking Salesforce after writing has stopped", "write less than salesforce.daily_call_share")
	}
}

// flow warns of times that defeat their purpose, and of credentials that nobody reads.
func (c *checker) flow() {
	cfg := c.cfg
	if cfg.ShutdownTimeout < cfg.Salesforce.Timeout {
		c.warn("shutdown_timeout", "calls under way are cut off: salesforce.timeout is longer", "write at least "+formatDuration(cfg.Salesforce.Timeout))
	}
	if cfg.Source.AckWait > 10*time.Minute {
		c.warn("source.ack_wait", "what a crashed instance held waits this long for another",
			"write a minute or two: messages at work are signalled anyway")
	}
	if used := cfg.Resilience.Redelivery; len(used.Delays) >= used.MaxAttempts && len(used.Delays) > 1 {
		c.warn("resilience.redelivery.delays", fmt.Sprintf("with %d attempts only the first %d are used", used.MaxAttempts, used.MaxAttempts-1),
			"drop the rest or raise max_attempts")
	}
	unused := []string{"username", "private_key_file", "audience"}
	if cfg.Salesforce.Auth.Flow == JWTBearer {
		unused = []string{"client_secret", "client_secret_file"}
	}
	for _, key := range unused {
		c.warn("salesforce.auth."+key, fmt.Sprintf("the %s flow does not use it", cfg.Salesforce.Auth.Flow), "remove it, or change flow")
	}
}

// rule warns of a mapping that says something without effect, or twice.
func (c *checker) rule(m *Mapping, i int) {
	path := index("mappings", i)
	if m.Ordering == mapping.Unordered {
		c.warn(join(path, "version"), "with ordering: none nobody compares versions", "remove one of the two")
		c.warn(join(path, "delete_when"), "with ordering: none a late upsert brings a deleted record back", "use ordering: newest_wins")
		c.unordered(m, path)
	}
	if m.Deliver.Policy == DeliverSince && m.Deliver.Since.After(time.Now()) {
		c.warn(join(path, "deliver"), "this time is still to come", "until then the mapping gets no event")
	}
	twin := slices.IndexFunc(c.cfg.Mappings[:i], func(o Mapping) bool {
		return o.Subject == m.Subject && o.When == m.When && sameRecords(&o, m)
	})
	if twin >= 0 {
		c.warn(join(path, "subject"), fmt.Sprintf("mapping %s makes changes of the same events for the same records", c.cfg.Mappings[twin].Name),
			"join the two, or tell their events apart with when")
	}
}

// unordered warns of a mapping whose writes another mapping, which orders the same records, never hears of.
func (c *checker) unordered(m *Mapping, path string) {
	ordered := slices.IndexFunc(c.cfg.Mappings, func(o Mapping) bool { return o.Ordering == mapping.NewestWins && sameRecords(&o, m) })
	if ordered >= 0 {
		name := c.cfg.Mappings[ordered].Name
		c.warn(join(path, "ordering"), fmt.Sprintf("mapping %s keeps no versions of the records that mapping %s orders, so either may write an old value over a newer one",
			m.Name, name), "use ordering: newest_wins for both")
	}
}

// unasked warns of parameters that the SOQL does not use.
func (c *checker) unasked(q *Query, path string) {
	template := q.Template()
	for name := range q.Params {
		if !template.Used(name) {
			c.warn(join(join(path, "params"), name), fmt.Sprintf("the query does not use :%s", name), "remove the parameter")
		}
	}
}
