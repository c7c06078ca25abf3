package deadletter

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Act is what a person did.
type Act struct {
	Actor     string          `db:"actor" json:"actor"`     // Name of a token, NATS client or OS user.
	Channel   string          `db:"channel" json:"channel"` // command, http or nats.
	Action    string          `db:"action" json:"action"`   // As the operation is named, for example replay.start.
	Reason    string          `db:"reason" json:"reason,omitempty"`
	Selection json.RawMessage `db:"selection" json:"selection"` // What it was done to.
	Letters   int64           `db:"letters" json:"letters"`     // How many letters it concerned.
}

// AuditEntry is an act as it was written down.
type AuditEntry struct {
	ID int64     `db:"id" json:"id"`
	At time.Time `db:"at" json:"at"`
	Act
}

// Audit writes down what a person did. The table takes no changes afterwards.
func (s *Store) Audit(ctx context.Context, a Act) error {
	selection := string(a.Selection)
	if selection == "" {
		selection = "{}"
	}
	return s.exec(ctx, "audit", `
		insert into penstock.audit (actor, channel, action, reason, selection, letters) values ($1, $2, $3, $4, $5, $6)`,
		clean(a.Actor), a.Channel, a.Action, clean(a.Reason), selection, a.Letters)
}

// Acts lists what people did, newest first, of which the id is smaller than before (0: all).
func (s *Store) Acts(ctx context.Context, before int64, limit int) ([]AuditEntry, error) {
	acts, err := collect(ctx, s, "acts", pgx.RowToStructByName[AuditEntry], `
		select id, at, actor, channel, action, reason, selection, letters from penstock.audit
		where $1 = 0 or id < $1 order by id desc limit $2`, before, min(max(limit, 1), maxPage))
	for i := range acts {
		acts[i].At = acts[i].At.UTC()
	}
	return acts, err
}
