package config

import (
	"time"

	"penstock/sfapi"
)

// Config is a complete configuration. Read-only once it is loaded.
//
// Tags of its fields: yaml is the key; need marks a required key and holds an example of it; min and max are inclusive bounds in the notation
// of the file; is names a form that a text must have, see forms.go.
type Config struct {
	NATS        NATS        `yaml:"nats"`
	Source      Source      `yaml:"source"`
	Replay      Replay      `yaml:"replay"`
	Salesforce  Salesforce  `yaml:"salesforce"`
	Batch       Batch       `yaml:"batch"`
	Ledger      Ledger      `yaml:"ledger"`
	Resilience  Resilience  `yaml:"resilience"`
	Database    Database    `yaml:"database"`
	DeadLetters DeadLetters `yaml:"deadletters"`
	HTTP        HTTP        `yaml:"http"`
	Reads       Reads       `yaml:"reads"`
	Log         Log         `yaml:"log"`

	// ShutdownTimeout is how long a stop may finish what is in flight before it is given back. Defaults to 30s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" min:"1s" max:"1h"`

	// Mappings are the rules that make changes of events. At least one mapping or query is required.
	Mappings []Mapping `yaml:"mappings"`
	// Queries are the named SOQL queries that callers may ask. Defaults to none.
	Queries []Query `yaml:"queries"`

	source *source // what it was read from; nil if it was made by hand
}

// NATS is the connection to NATS.
type NATS struct {
	// URL is the server's address, or several joined by commas. Defaults to nats://127.0.0.1:4222.
	URL URL `yaml:"url"`
	// CredsFile is a NATS credentials file (JWT and nkey seed), read again on each reconnect. Defaults to none.
	CredsFile File `yaml:"creds_file"`
	TLS       TLS  `yaml:"tls"`
	// InboxPrefix is the subject prefix of replies, for accounts that may not subscribe to all of _INBOX. Defaults to _INBOX.
	InboxPrefix string `yaml:"inbox_prefix" is:"subject prefix"`
}

// TLS is how to encrypt the connection to NATS.
type TLS struct {
	// CAFile holds the PEM certificates that the server's must descend from. Defaults to none: those of the system.
	CAFile File `yaml:"ca_file"`
	// CertFile is our own PEM certificate, for servers that ask for one. Defaults to none.
	CertFile File `yaml:"cert_file"`
	// KeyFile is the PEM key of CertFile. Defaults to none.
	KeyFile File `yaml:"key_file"`
}

// Source is the stream that events come from. It belongs to its owner: only durables are added to it.
type Source struct {
	// Stream is the name of the JetStream stream. Required if there are mappings.
	Stream string `yaml:"stream" is:"stream name"`
	// Durable is the prefix of the durables, <durable>-<mapping>. Instances with the same one share the work. Defaults to penstock.
	Durable string `yaml:"durable" is:"stream name"`
	// MaxAckPending is how many messages of one mapping may be unsettled, over all instances. Defaults to 4000.
	MaxAckPending int `yaml:"max_ack_pending" min:"1" max:"1000000"`
	// AckWait is after how long the server gives a message that nobody signalled to another instance. Defaults to 60s.
	AckWait time.Duration `yaml:"ack_wait" min:"1s" max:"12h"`
	// MaxDeliveries is after how many deliveries without a verdict a message that ends the process is buried. Defaults to 20.
	MaxDeliveries int `yaml:"max_deliveries" min:"2" max:"1000"`
	// MaxInFlight is how many messages one process holds, over all mappings. Defaults to 4000.
	MaxInFlight int `yaml:"max_in_flight" min:"1" max:"1000000"`
	// MaxInFlightBytes is how many bytes of messages one process holds, over all mappings. Defaults to 64MiB.
	MaxInFlightBytes Size `yaml:"max_in_flight_bytes" min:"64KiB" max:"16GiB"`
}

// Replay is how dead letters travel back.
type Replay struct {
	// Stream is the name of the stream that carries replayed letters. It is created if missing. Defaults to PENSTOCK_REPLAY.
	Stream string `yaml:"stream" is:"stream name"`
	// Subject is the prefix of their subjects, <subject>.<mapping>. Defaults to penstock.replay.
	Subject string `yaml:"subject" is:"subject prefix"`
	// Rate is how many letters are published per second. Defaults to 50.
	Rate float64 `yaml:"rate" min:"0.01" max:"10000"`
	// MaxReplays is after how many failed replays a letter is parked and needs --force. Defaults to 5.
	MaxReplays int `yaml:"max_replays" min:"1" max:"1000"`
}

// Salesforce is the org that records are written to.
type Salesforce struct {
	// LoginURL is the org's My Domain address, https except to this machine. Required.
	LoginURL URL `yaml:"login_url" need:"login_url: https://acme.my.salesforce.com"`
	// APIVersion is the version of the REST API. Defaults to 66.0.
	APIVersion string `yaml:"api_version" is:"API version"`
	Auth       Auth   `yaml:"auth"`
	// Timeout is how long one API request may take. Defaults to 30s.
	Timeout time.Duration `yaml:"timeout" min:"1s" max:"10m"`
	// MaxConcurrentCalls is how many API requests one process has under way. Defaults to 8.
	MaxConcurrentCalls int `yaml:"max_concurrent_calls" min:"1" max:"200"`
	// CallsPerSecond is how many API requests one process starts per second; 0 is no limit. Defaults to 0.
	CallsPerSecond float64 `yaml:"calls_per_second" min:"0" max:"10000"`
	// DailyCallShare is the share of the org's daily API requests, used by anyone, at which writing stops. Defaults to 0.8.
	DailyCallShare float64 `yaml:"daily_call_share" min:"0.01" max:"1"`
	Headers        Headers `yaml:"headers"`
	// ErrorClasses overrides how an error is treated, by CODE or Object.CODE. Defaults to none.
	ErrorClasses map[string]sfapi.Class `yaml:"error_classes" is:"error code"`
}

// Auth is how to log in to Salesforce.
type Auth struct {
	// Flow is the OAuth flow. Defaults to client_credentials.
	Flow Flow `yaml:"flow"`
	// ClientID is the consumer key of the External Client App. Required.
	ClientID string `yaml:"client_id" need:"client_id: ${SF_CLIENT_ID}"`
	// ClientSecret is the consumer secret, for client_credentials. Defaults to none.
	ClientSecret Secret `yaml:"client_secret"`
	// ClientSecretFile is a file that holds the consumer secret; it is read again when it changes. Defaults to none.
	ClientSecretFile File `yaml:"client_secret_file"`
	// Username is the user to act as, for jwt_bearer. Defaults to none.
	Username string `yaml:"username"`
	// PrivateKeyFile is the PEM RSA key of the app's certificate, for jwt_bearer; it is read again when it changes. Defaults to none.
	PrivateKeyFile File `yaml:"private_key_file"`
	// Audience is the aud claim, for jwt_bearer: test.salesforce.com for a sandbox. Defaults to https://login.salesforce.com.
	Audience string `yaml:"audience"`
	// RetryInterval paces refused logins: five tries within it, then at most one in it, ever more rarely. Defaults to 60s.
	RetryInterval time.Duration `yaml:"retry_interval" min:"1s" max:"1h"`
}

// Headers are settings of Salesforce that travel with each write.
type Headers struct {
	// AutoAssign runs assignment rules on Account, Case and Lead. Defaults to false.
	AutoAssign bool `yaml:"auto_assign"`
	// DuplicateRuleAllowSave saves records that a duplicate rule only warns of. Defaults to false.
	DuplicateRuleAllowSave bool `yaml:"duplicate_rule_allow_save"`
}

// Batch is when a batch of records is sent.
type Batch struct {
	// MaxRecords is how many records travel in one call; Salesforce takes at most 200. Defaults to 200.
	MaxRecords int `yaml:"max_records" min:"1" max:"200"`
	// MaxBytes is how many bytes of records travel in one call; also the size of the largest event accepted. Defaults to 1MiB.
	MaxBytes Size `yaml:"max_bytes" min:"1KiB" max:"16MiB"`
	// Linger is how long the first record of an incomplete batch waits for company. Defaults to 100ms.
	Linger time.Duration `yaml:"linger" min:"0" max:"1m"`
}

// Ledger is what is remembered of the versions already applied.
type Ledger struct {
	// Lease is how long a key stays reserved for the instance that writes it. Defaults to twice salesforce.timeout.
	Lease time.Duration `yaml:"lease" min:"2s" max:"1h"`
	// Retention is how long the version of a key is remembered: longer than the oldest event that can still arrive. Defaults to 2160h.
	Retention time.Duration `yaml:"retention" min:"1h" max:"87600h"`
}

// Resilience is what is done about failures.
type Resilience struct {
	Retry      Retry      `yaml:"retry"`
	Breaker    Breaker    `yaml:"breaker"`
	Redelivery Redelivery `yaml:"redelivery"`
}

// Retry is how one call is repeated while its batch waits.
type Retry struct {
	// MaxAttempts is how often a call is made, the first time included. Defaults to 3.
	MaxAttempts int `yaml:"max_attempts" min:"1" max:"20"`
	// InitialDelay is the upper bound of the random delay before the second attempt; it doubles each time. Defaults to 2s.
	InitialDelay time.Duration `yaml:"initial_delay" min:"1ms" max:"10m"`
	// MaxDelay is where that bound stops growing. Defaults to 8s.
	MaxDelay time.Duration `yaml:"max_delay" min:"1ms" max:"10m"`
}

// Breaker is when calls stop because Salesforce is in trouble.
type Breaker struct {
	// FailureRate is the share of failed calls within Window that opens the breaker. Defaults to 0.5.
	FailureRate float64 `yaml:"failure_rate" min:"0.01" max:"1"`
	// MinCalls is how many calls Window must hold before the rate counts. Defaults to 10.
	MinCalls int `yaml:"min_calls" min:"1" max:"10000"`
	// Window is the time over which calls are counted. Defaults to 60s.
	Window time.Duration `yaml:"window" min:"1s" max:"1h"`
	// OpenFor is how long no call is made before one is tried. Defaults to 60s.
	OpenFor time.Duration `yaml:"open_for" min:"1s" max:"1h"`
	// MaxOpenFor is where that time stops growing when the trial fails again. Defaults to 5m.
	MaxOpenFor time.Duration `yaml:"max_open_for" min:"1s" max:"24h"`
}

// Redelivery is how a message whose attempt failed comes back.
type Redelivery struct {
	// MaxAttempts is after how many failures of its own a message becomes a dead letter. Defaults to 5.
	MaxAttempts int `yaml:"max_attempts" min:"1" max:"100"`
	// Delays are the upper bounds of the random delay after the first, second, ... failure; the last one repeats. Defaults to 5s, 30s, 2m, 10m.
	Delays []time.Duration `yaml:"delays" min:"1ms" max:"24h"`
}

// Database is the Postgres that holds dead letters and the ledger.
type Database struct {
	// URL is a Postgres URL or keyword string, as libpq takes it. Required if there are mappings.
	URL URL `yaml:"url"`
}

// DeadLetters is how long dead letters are kept, and how.
type DeadLetters struct {
	Retention Retention `yaml:"retention"`
	// Keys seal what letters hold of their events: the last one seals, all of them open. Defaults to none: letters are stored plain.
	Keys []Key `yaml:"keys"`
}

// Retention is how long letters stay, by state; 0 is for ever.
type Retention struct {
	// Recovered is how long letters stay whose retry worked. Defaults to 168h.
	Recovered time.Duration `yaml:"recovered" min:"0" max:"87600h"`
	// Resolved is how long letters stay whose replay was applied. Defaults to 720h.
	Resolved time.Duration `yaml:"resolved" min:"0" max:"87600h"`
	// Superseded is how long letters stay whose replay found newer data. Defaults to 720h.
	Superseded time.Duration `yaml:"superseded" min:"0" max:"87600h"`
	// Discarded is how long letters stay that somebody gave up. Defaults to 2160h.
	Discarded time.Duration `yaml:"discarded" min:"0" max:"87600h"`
	// Dead is how long letters stay, since their last failure, that wait for somebody (dead and parked). Defaults to 0s.
	Dead time.Duration `yaml:"dead" min:"0" max:"87600h"`
}

// Key is an AES-256 key in a file.
type Key struct {
	// ID names the key in each row that it sealed. Required.
	ID string `yaml:"id" need:"id: k1" is:"key id"`
	// File holds its 32 bytes as base64 or hexadecimal digits. Required.
	File File `yaml:"file" need:"file: /run/secrets/deadletters.key"`
}

// HTTP is the server for health, metrics, status and control.
type HTTP struct {
	// Addr is the address to listen on. Defaults to 127.0.0.1:8080.
	Addr string `yaml:"addr" is:"listen address"`
	// Token is what callers of control and payloads must present; without it they must be on this machine. Defaults to none.
	Token Secret `yaml:"token"`
	// Tokens are further ones, each with a name for the audit table and a role. Defaults to none.
	Tokens []HTTPToken `yaml:"tokens"`
}

// HTTPToken is one token of a caller over HTTP.
type HTTPToken struct {
	// Name says who has it; it is written to the audit table. Required.
	Name string `yaml:"name" need:"name: alice"`
	// Role is read (states, counts and errors), operate (also contents of events, changes, and queries) or query (queries alone). Defaults to read.
	Role Role `yaml:"role"`
	// Token is the token itself; this or token_file is required. Defaults to none.
	Token Secret `yaml:"token"`
	// TokenFile is a file that holds it; it is read again when it changes. Defaults to none.
	TokenFile File `yaml:"token_file"`
}

// Reads are what all queries share.
type Reads struct {
	// DailyCallShare is the share of the org's daily API requests, used by anyone, at which queries answer from the cache only. Defaults to 0.7.
	DailyCallShare float64 `yaml:"daily_call_share" min:"0.01" max:"1"`
	// MaxConcurrentCalls is how many queries ask Salesforce at a time; they have slots of their own beside those of writes. Defaults to 4.
	MaxConcurrentCalls int `yaml:"max_concurrent_calls" min:"1" max:"100"`
	// Timeout is how long an ask waits for Salesforce before it gets what is cached. Defaults to 10s.
	Timeout time.Duration `yaml:"timeout" min:"100ms" max:"10m"`
	// RefreshOnWrite is how often an answer is asked for again because its objects are written, in the long run; the first times it is asked for at once. Defaults to 5s.
	RefreshOnWrite time.Duration `yaml:"refresh_on_write" min:"0" max:"24h"`
	// Bucket is the JetStream key-value bucket that keeps answers. It is created if missing. Defaults to PENSTOCK_READS.
	Bucket string `yaml:"bucket" is:"bucket name"`
	// MaxBytes is how large the bucket may become, if it is created. Defaults to 256MiB.
	MaxBytes Size `yaml:"max_bytes" min:"1MiB" max:"1024GiB"`
	// MaxMemory is how many bytes of answers each process keeps beside the bucket. Defaults to 64MiB.
	MaxMemory Size `yaml:"max_memory" min:"1MiB" max:"1024GiB"`
}

// Log is what is logged, to standard error.
type Log struct {
	// Level is the least severe level that is logged. Defaults to info.
	Level Level `yaml:"level"`
	// Format is json for machines, console for people. Defaults to json.
	Format Format `yaml:"format"`
}
