package sfsim

import (
	"cmp"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"
)

// Credentials of the app and the user an org has when [Config] names none.
const (
	DefaultClientID     = "sfsim-client"
	DefaultClientSecret = "sfsim-secret"
	DefaultUsername     = "integration@sfsim.example"
)

// Config describes the org. The zero value is a usable org with [DefaultSchema].
type Config struct {
	Schema Schema // Defaults to DefaultSchema().

	Apps        []App    // Defaults to one app with DefaultClientID and DefaultClientSecret.
	Users       []string // Usernames; the first one runs the client credentials flow. Defaults to DefaultUsername.
	InstanceURL string   // Where tokens send the client. Defaults to the address the token was asked at.
	Audiences   []string // Accepted aud of a JWT. Defaults to the production and sandbox login hosts.

	IdleTimeout   time.Duration // A session unused for so long is gone. Defaults to 2 h.
	LoginsPerHour int           // Per user. Defaults to 3,600.

	Latency Latency // Defaults to none.

	DailyCalls   int // Calls in any 24 hours. Defaults to 100,000; negative means no limit.
	LongRequests int // Calls that may run LongAfter or longer at one time. Defaults to 25.
	// LongAfter is when a running call counts as long. Defaults to 20 s.
	LongAfter    time.Duration
	LockWait     time.Duration // How long a call waits for a locked row. Defaults to 10 s.
	LockParents  ParentLocks   // Which parents a write locks. Defaults to MasterDetailParents.
	CursorLife   time.Duration // How long nextRecordsUrl works. Defaults to 48 h.
	MaxBodyBytes int64         // Larger requests get 413, before and after decompression. Defaults to 50 MiB.
	GzipFrom     int           // Answers of at least so many bytes are compressed for clients that accept it. Defaults to 2,048; negative means never.

	Versions Versions // Defaults to 31 (oldest), 41 (oldest not deprecated) and 68 (newest).

	AuditLimit int       // Commits kept for reading, the newest win; each costs its record and 150 bytes. Defaults to 1,000,000; negative keeps none, only counts.
	Troubles   []Trouble // In force from the start.
	Seed       uint64    // Of the dice that Trouble.Probability throws. Defaults to 1.
	Quirks     Quirks

	Now func() time.Time // Defaults to time.Now.
}

// App is an external client app of the org.
type App struct {
	ClientID     string
	ClientSecret string         // For the client credentials flow; empty refuses that flow.
	Key          *rsa.PublicKey // For the JWT bearer flow; nil refuses that flow.
}

// Latency is the time a call takes. Rows stay locked during the time of their call.
type Latency struct {
	Base      time.Duration // Per call.
	PerRecord time.Duration // Per record written.
}

// ParentLocks says which parents a write locks together with the row.
type ParentLocks string

// The choices for parents.
const (
	NoParents           ParentLocks = "none"
	MasterDetailParents ParentLocks = "master_detail"
	AllParents          ParentLocks = "all" // every lookup that is written
)

// Versions are the API versions of the org, as whole numbers.
type Versions struct {
	Oldest     int // Below it: 410.
	Deprecated int // Below it: a Warning header.
	Newest     int // Above it: 404.
}

// Quirks are the points on which public documentation is silent or divided. The zero value is the documented or likelier
// behaviour; each field turns one of them the other way.
type Quirks struct {
	// Tokens.
	RefuseBasicAuth     bool // Client id and secret are not accepted in an Authorization header.
	InvalidClient401    bool // A wrong secret is answered with 401 instead of 400.
	SharedSession       bool // Logins of one user return one session instead of a new one each.
	BareJWTAnswer       bool // The JWT flow's answer has no signature and no issued_at.
	ExtraTokenKeys      bool // Answers carry api_instance_url and token_format too.
	PerAppUsage         bool // Sforce-Limit-Info carries the usage of the app too.
	NoLimitInfoOnErrors bool // Sforce-Limit-Info comes with successful answers only.

	// Requests.
	ParserErrorPerRecord   bool // A value of the wrong JSON type fails its record instead of the whole Collections call.
	BadFieldFailsCall      bool // An unknown field in one record fails the whole Collections call with INVALID_FIELD.
	AllFailed400           bool // A result array without a success comes with status 400 instead of 200.
	NullIDInFailures       bool // Failed results carry "id":null.
	CaseSensitiveNonUnique bool // Keys in non-unique external ID fields are compared with their case.
	SlashKeysNotFound      bool // Keys with a slash answer 404 in single-record URLs, even when escaped.
	CollectionsUncounted   bool // Collections calls inside a composite do not share the five places of queries.

	// Values.
	KeepEmptyText    bool // "" is stored instead of clearing the field.
	NullBooleanFalse bool // null for a boolean means false instead of an error.
	TextFromNumbers  bool // A JSON number or boolean for a text field is accepted as its text.
	NumbersOnlyBare  bool // A number in quotes is refused.
	RefuseDecimals   bool // Extra decimals are NUMBER_OUTSIDE_VALID_RANGE instead of being rounded.
	LengthInBytes    bool // Lengths count bytes of UTF-8 instead of characters.

	// Transactions.
	OneLockFailsAll bool // One row that cannot be locked fails every record of its call.

	// Answers replaces single answers, by situation; see Situations.
	Answers map[Situation]Answer
}

func (cfg Config) withDefaults() Config {
	if len(cfg.Schema.Objects) == 0 {
		cfg.Schema = DefaultSchema()
	}
	if len(cfg.Apps) == 0 {
		cfg.Apps = []App{{ClientID: DefaultClientID, ClientSecret: DefaultClientSecret}}
	}
	if len(cfg.Users) == 0 {
		cfg.Users = []string{DefaultUsername}
	}
	if len(cfg.Audiences) == 0 {
		cfg.Audiences = []string{"https://login.salesforce.com", "https://test.salesforce.com"}
	}
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Hour)
	cfg.LoginsPerHour = cmp.Or(cfg.LoginsPerHour, 3600)
	cfg.DailyCalls = cmp.Or(cfg.DailyCalls, 100_000)
	cfg.LongRequests = cmp.Or(cfg.LongRequests, 25)
	cfg.LongAfter = cmp.Or(cfg.LongAfter, 20*time.Second)
	cfg.LockWait = cmp.Or(cfg.LockWait, 10*time.Second)
	cfg.LockParents = cmp.Or(cfg.LockParents, MasterDetailParents)
	cfg.CursorLife = cmp.Or(cfg.CursorLife, 48*time.Hour)
	cfg.MaxBodyBytes = cmp.Or(cfg.MaxBodyBytes, 50<<20)
	cfg.GzipFrom = cmp.Or(cfg.GzipFrom, 2048)
	cfg.AuditLimit = cmp.Or(cfg.AuditLimit, 1_000_000)
	cfg.Seed = cmp.Or(cfg.Seed, 1)
	cfg.Versions.Oldest = cmp.Or(cfg.Versions.Oldest, 31)
	cfg.Versions.Deprecated = cmp.Or(cfg.Versions.Deprecated, 41)
	cfg.Versions.Newest = cmp.Or(cfg.Versions.Newest, 68)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return cfg
}

func (cfg *Config) validate() error {
	var problems []error
	for _, d := range []time.Duration{
		cfg.IdleTimeout, cfg.Latency.Base, cfg.Latency.PerRecord, cfg.LongAfter, cfg.LockWait, cfg.CursorLife,
	} {
		if d < 0 {
			problems = append(problems, fmt.Errorf("duration %s is negative", d))
		}
	}
	switch cfg.LockParents {
	case NoParents, MasterDetailParents, AllParents:
	default:
		problems = append(problems, fmt.Errorf("lock parents %q is not one of none, master_detail, all", cfg.LockParents))
	}
	for situation := range cfg.Quirks.Answers {
		if _, known := usualAnswers[situation]; !known {
			problems = append(problems, fmt.Errorf("situation %q is unknown", situation))
		}
	}
	return errors.Join(problems...)
}
