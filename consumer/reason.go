package consumer

import (
	"errors"
	"fmt"
	"time"

	"penstock/resilience"
	"penstock/sfapi"
)

// Reason is why intake is stopped.
type Reason string

// The reasons that close the gate. Tripwire and operator stop one mapping each, the others all.
const (
	ReasonBreaker     Reason = "breaker"     // Salesforce does not answer, or answers that it is down or overloaded
	ReasonQuota       Reason = "quota"       // the org's allocation of calls is used up, or our share of it
	ReasonAuth        Reason = "auth"        // the credentials or the app are refused
	ReasonMaintenance Reason = "maintenance" // API disabled, org locked or read-only, storage full
	ReasonDatabase    Reason = "database"    // Postgres is away: nothing could be claimed or buried
	ReasonTripwire    Reason = "tripwire"    // most changes of the mapping die of one cause, or too many wait to be tried again
	ReasonOperator    Reason = "operator"    // somebody paused it
)

// Reasons lists every reason.
func Reasons() []Reason { return append(probed(), ReasonDatabase, ReasonTripwire, ReasonOperator) }

// probed lists the reasons that Salesforce gives, and that a probe can take away.
func probed() []Reason { return []Reason{ReasonBreaker, ReasonQuota, ReasonAuth, ReasonMaintenance} }

// Closure is one reason that keeps the gate closed.
type Closure struct {
	Reason  Reason    `json:"reason"`
	Mapping string    `json:"mapping,omitempty"` // the one that is stopped; empty: all
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"` // the next try, or the end; zero if somebody else has to act
	Why     string    `json:"why"`            // a sentence for people
}

// reasonOf finds the reason that a failure closes the gate for, and says why. A refusal of the pipeline is read for what it hides.
func reasonOf(f failure, err error) (Reason, string) {
	var refused *resilience.Refused
	if errors.As(err, &refused) && refused.Cause != nil {
		f = failureOf(refused.Cause)
	}
	said := fmt.Sprintf("%s: %s", f.code, f.text)
	switch {
	case f.class == sfapi.Auth, refusedLogin(f.code):
		return ReasonAuth, "Salesforce refuses the credentials or the app (" + said + "); a changed secret file is tried at once"
	case f.limit == sfapi.LimitDaily:
		return ReasonQuota, "the org's API requests of the last 24 hours are used up (" + said + ")"
	case f.limit == sfapi.LimitConcurrent:
		return ReasonBreaker, "Salesforce has too many calls of this org under way (" + said + "); fewer at a time will try again"
	case maintenance(f.code):
		return ReasonMaintenance, "Salesforce takes no writes until its administrator acts or a window has passed (" + said + ")"
	default:
		return ReasonBreaker, "Salesforce does not answer as it should (" + said + "); one batch at a time will try again"
	}
}

// refusedLogin says whether with a code Salesforce refuses the user, or a session however new its token is.
func refusedLogin(code string) bool {
	switch code {
	case "HTTP_401",
		"INVALID_LOGIN",
		"INVALID_OPERATION_WITH_EXPIRED_PASSWORD",
		"INVALID_SESSION_ID",
		"InvalidSessionId",
		"InvalidUser",
		"LOGIN_DURING_RESTRICTED_DOMAIN",
		"LOGIN_DURING_RESTRICTED_TIME",
		"LOGIN_MUST_USE_SECURITY_TOKEN",
		"PASSWORD_LOCKOUT":
		return true
	default:
		return false
	}
}

// maintenance says whether with a code Salesforce says that somebody has to act, or that a window has to pass.
func maintenance(code string) bool {
	switch code {
	case "API_CURRENTLY_DISABLED",
		"API_DISABLED_FOR_ORG",
		"EXCEEDED_QUOTA",
		"ExceededQuota",
		"FUNCTIONALITY_NOT_ENABLED",
		"GONE",
		"HTTP_410",
		"INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
		"INVALID_READ_ONLY_USER_DML",
		"INVALID_VERSION",
		"LICENSE_LIMIT_EXCEEDED",
		"ORG_LOCKED",
		"PACKAGE_DISABLED",
		"PACKAGE_LICENSE_REQUIRED",
		"STORAGE_LIMIT_EXCEEDED",
		"TRIAL_EXPIRED",
		"TXN_SECURITY_NO_ACCESS",
		"UNSUPPORTED_API_VERSION":
		return true
	default:
		return false
	}
}

// word is a refusal of the whole call that Salesforce itself has answered, over a link that is well: the breaker must not
// count it, and to repeat it at once would only cost a call.
type word struct{ err *sfapi.Error }

func (w *word) Error() string { return w.err.Error() }

// Unwrap returns what Salesforce said.
func (w *word) Unwrap() error { return w.err }

// Class is none that the pipeline acts on.
func (w *word) Class() string { return "word" }

// wordOf marks an error that is Salesforce's own word.
func wordOf(err error) error {
	var sf *sfapi.Error
	if !errors.As(err, &sf) || sf.Kind != sfapi.System {
		return err
	}
	if sf.Limit == sfapi.LimitDaily || sf.Limit == sfapi.LimitConcurrent || refusedLogin(sf.Code) || maintenance(sf.Code) {
		return &word{sf}
	}
	return err
}
