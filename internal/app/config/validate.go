package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// checker finds what no key can know alone. A key that is spoiled already is left in peace.
type checker struct {
	*findings
	cfg *Config
}

// checkConfig notes every contradiction of a configuration that is decoded.
func checkConfig(cfg *Config, found *findings) {
	c := checker{found, cfg}
	c.nats()
	c.source()
	c.login()
	c.auth()
	c.database()
	c.tokens()
	c.keys()
	c.times()
	c.mappings()
	c.queries()
}

func (c *checker) nats() {
	for address := range strings.SplitSeq(c.cfg.NATS.URL.Reveal(), ",") {
		if !isNATS(strings.TrimSpace(address)) {
			c.wrong("nats.url", "is not an address of a NATS server", "write nats://host:4222, tls:// for TLS, several joined by commas")
			break
		}
	}
	if tls := c.cfg.NATS.TLS; (tls.CertFile == "") != (tls.KeyFile == "") {
		at, _ := c.src.find("nats.tls")
		c.add("nats.tls", at, "", "one of cert_file and key_file is given without the other", "give both, or neither")
	}
}

// isNATS knows what nats.Connect takes: the scheme and the port may be missing.
func isNATS(address string) bool {
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return false
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return true
	}
	return false
}

func (c *checker) source() {
	cfg := c.cfg
	if len(cfg.Mappings) > 0 && cfg.Source.Stream == "" {
		c.missing("source.stream", ", because there are mappings", "stream: CHANGES")
	}
	if cfg.Source.Stream == cfg.Replay.Stream {
		c.clash("replay.stream", "source.stream", "is the source stream as well", "let replayed letters have a stream of their own")
	}
	if bytes := cfg.Batch.MaxBytes; bytes > cfg.Source.MaxInFlightBytes {
		c.clash("source.max_in_flight_bytes", "batch.max_bytes", fmt.Sprintf("is less than batch.max_bytes (%s)", bytes),
			"make room for one batch at least")
	}
	if attempts := cfg.Resilience.Redelivery.MaxAttempts; attempts >= cfg.Source.MaxDeliveries {
		c.clash("source.max_deliveries", "resilience.redelivery.max_attempts",
			fmt.Sprintf("is not more than resilience.redelivery.max_attempts (%d)", attempts),
			"make it several times as much: each attempt is a delivery, and so is each crash")
	}
}

// login checks the address of the org by what Salesforce accepts as the host of a token request.
func (c *checker) login() {
	const path, fix = "salesforce.login_url", "write the My Domain address, such as https://acme.my.salesforce.com"
	if !c.sound(path) {
		return
	}
	u, err := url.Parse(c.cfg.Salesforce.LoginURL.Reveal())
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.wrong(path, "is not an address", fix)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		c.wrong(path, "would send the credentials unencrypted", "write https://")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		c.wrong(path, "holds more than a host", fix)
	case strings.HasSuffix(u.Hostname(), ".lightning.force.com"):
		c.wrong(path, "is the address of the user interface, where tokens are not valid", fix)
	case isSharedLogin(u.Hostname()) && c.cfg.Salesforce.Auth.Flow == ClientCredentials:
		c.wrong(path, "does not serve the client_credentials flow", fix)
	}
}

// isSharedLogin tells whether the host is one that all orgs share; Salesforce answers client credentials there with
// "request not supported on this domain".
func isSharedLogin(host string) bool {
	return host == "login.salesforce.com" || host == "test.salesforce.com"
}

func (c *checker) auth() {
	auth := c.cfg.Salesforce.Auth
	need := func(key string, given bool, example string) {
		if !given && c.sound("salesforce.auth.flow") {
			c.missing("salesforce.auth."+key, fmt.Sprintf(" by the %s flow", auth.Flow), example)
		}
	}
	switch auth.Flow {
	case ClientCredentials:
		need("client_secret", !auth.ClientSecret.IsZero() || auth.ClientSecretFile != "",
			"client_secret: ${SF_CLIENT_SECRET}, or client_secret_file")
		if !auth.ClientSecret.IsZero() && auth.ClientSecretFile != "" {
			at, _ := c.src.find("salesforce.auth.client_secret_file")
			c.add("salesforce.auth.client_secret_file", at, "", "client_secret is given too", "remove one of the two")
		}
	case JWTBearer:
		need("username", auth.Username != "", "username: integration@acme.com")
		need("private_key_file", auth.PrivateKeyFile != "", "private_key_file: server.key")
		if !strings.HasPrefix(auth.Audience, "https://") && c.sound("salesforce.auth.audience") {
			c.wrong("salesforce.auth.audience", "is not an audience",
				"write https://login.salesforce.com, or https://test.salesforce.com for a sandbox")
		}
	}
}

func (c *checker) database() {
	const path = "database.url"
	text := c.cfg.Database.URL.Reveal()
	if text == "" {
		if len(c.cfg.Mappings) > 0 || len(c.cfg.Queries) == 0 {
			c.missing(path, "", "url: ${DATABASE_URL}")
		}
		return
	}
	if !c.sound(path) || keyword.MatchString(text) {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		c.wrong(path, "is neither a Postgres URL nor a keyword string", "write postgres://user:password@host:5432/database")
	}
}

// keys checks that each key has an id of its own: sealed values name their key by it.
func (c *checker) keys() {
	first := map[string]int{}
	for i, k := range c.cfg.DeadLetters.Keys {
		path := index("deadletters.keys", i)
		if twin, taken := first[k.ID]; taken && k.ID != "" {
			c.twice(join(path, "id"), join(index("deadletters.keys", twin), "id"))
		} else {
			first[k.ID] = i
		}
	}
}

// times checks that what waits for something waits long enough.
func (c *checker) times() {
	cfg := c.cfg
	breaker, retry := cfg.Resilience.Breaker, cfg.Resilience.Retry
	c.atLeast(term{"ledger.lease", cfg.Ledger.Lease}, term{"salesforce.timeout", cfg.Salesforce.Timeout}, 2,
		": a lease must outlive the call that it protects")
	c.atLeast(term{"source.ack_wait", cfg.Source.AckWait}, term{"salesforce.timeout", cfg.Salesforce.Timeout}, 1,
		": else a message is redelivered while its call is under way")
	c.atLeast(term{"resilience.breaker.max_open_for", breaker.MaxOpenFor}, term{"resilience.breaker.open_for", breaker.OpenFor}, 1, "")
	c.atLeast(term{"resilience.retry.max_delay", retry.MaxDelay}, term{"resilience.retry.initial_delay", retry.InitialDelay}, 1, "")
	if len(cfg.Resilience.Redelivery.Delays) == 0 && c.sound("resilience.redelivery.delays") {
		c.wrong("resilience.redelivery.delays", "is empty", "write at least one delay, such as [5s]")
	}
}

// term is a duration and the path of its key.
type term struct {
	path  string
	value time.Duration
}

// atLeast notes that a duration is shorter than another one, times a factor, asks for.
func (c *checker) atLeast(have, other term, factor int, why string) {
	least := time.Duration(factor) * other.value
	if have.value >= least {
		return
	}
	times := ""
	if factor == 2 {
		times = "twice "
	}
	c.clash(have.path, other.path, fmt.Sprintf("is less than %s%s (%s)", times, other.path, formatDuration(other.value)),
		fmt.Sprintf("write %s or more%s", formatDuration(least), why))
}

// clash notes that the value of a key contradicts another one's. If it is a default, it points at the other.
func (c *checker) clash(path, other, what, fix string) {
	if !c.sound(path, other) {
		return
	}
	if c.src.has(path) {
		c.wrong(path, what, fix)
		return
	}
	at, text := c.src.find(other)
	c.add(path, at, text, "the default "+what, path+": "+fix)
}
