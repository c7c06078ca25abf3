package control

import (
	"context"
	"net/http"
	"strconv"

	"penstock/deadletter"
)

// ListAnswer is a page of letters, newest first.
type ListAnswer struct {
	Letters []deadletter.Summary `json:"letters"`
	Next    int64                `json:"next,omitempty"` // before, of the next page; absent on the last one
}

func (d *Desk) list(ctx context.Context, _ Caller, in Input) (any, error) {
	p, rest, err := page(in)
	if err != nil {
		return nil, err
	}
	f, err := selection(rest, in.Query, "before", "limit")
	if err != nil {
		return nil, err
	}
	letters, err := d.deps.Letters.List(ctx, f, p)
	if err != nil {
		return nil, err
	}
	answer := ListAnswer{Letters: letters}
	if len(letters) == p.Limit {
		answer.Next = letters[len(letters)-1].ID
	}
	return answer, nil
}

// GroupsAnswer lists the causes of letters, the most frequent first.
type GroupsAnswer struct {
	Groups []deadletter.Cause `json:"groups"`
}

func (d *Desk) groups(ctx context.Context, _ Caller, in Input) (any, error) {
	p, rest, err := page(in)
	if err == nil && p.Before != 0 {
		err = invalid("before", "is not known here: the causes are one page")
	}
	if err != nil {
		return nil, err
	}
	f, err := selection(rest, in.Query, "before", "limit")
	if err != nil {
		return nil, err
	}
	groups, err := d.deps.Letters.Groups(ctx, f, p.Limit)
	return GroupsAnswer{Groups: groups}, err
}

func (d *Desk) stats(ctx context.Context, _ Caller, in Input) (any, error) {
	rest, err := parts(in.Body, nil)
	if err != nil {
		return nil, err
	}
	f, err := selection(rest, in.Query)
	if err != nil {
		return nil, err
	}
	return d.deps.Letters.Stats(ctx, f)
}

// ShowAnswer is one letter.
type ShowAnswer struct {
	Letter *deadletter.Letter  `json:"letter,omitempty"`  // with its contents, for those who may operate
	Head   *deadletter.Summary `json:"summary,omitempty"` // without, for those who may read
	Advice string              `json:"advice,omitempty"`
	Live   *Comparison         `json:"live,omitempty"` // beside what Salesforce holds
}

func (d *Desk) show(ctx context.Context, c Caller, in Input) (any, error) {
	var live bool
	contents := true
	n, err := id(in, map[string]any{"live": &live, "contents": &contents}, "live", "contents")
	if err != nil {
		return nil, err
	}
	for name, target := range map[string]*bool{"live": &live, "contents": &contents} {
		if in.Query.Has(name) {
			if *target, err = strconv.ParseBool(in.Query.Get(name)); err != nil {
				return nil, invalid(name, "must be true or false")
			}
		}
	}
	if live && !c.Role.Allows(Operate) {
		return nil, &Error{Status: http.StatusForbidden, Title: "not allowed", Field: "live", Detail: "record values need the role operate"}
	}
	letter, err := d.deps.Letters.Get(ctx, n)
	if err != nil {
		return nil, err
	}
	answer := ShowAnswer{Advice: deadletter.Advice(letter.Code)}
	if contents && c.Role.Allows(Operate) {
		answer.Letter = letter
	} else {
		answer.Head = &letter.Summary
	}
	if live {
		if answer.Live, err = d.compare(ctx, letter); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// DiscardAnswer is how many letters were given up.
type DiscardAnswer struct {
	Discarded int64 `json:"discarded"`
}

func (d *Desk) discard(ctx context.Context, c Caller, in Input) (any, error) {
	f, reason, err := d.chosen(in, "discard")
	if err != nil {
		return nil, err
	}
	if reason == "" {
		return nil, invalid("reason", "must say why: it is kept with each letter")
	}
	if err := d.audit(ctx, c, "deadletters.discard", reason, f, 0); err != nil {
		return nil, err
	}
	n, err := d.deps.Letters.Discard(ctx, f, c.Name, reason)
	return DiscardAnswer{Discarded: n}, err
}

// chosen reads the letters that something is done to. Without a condition it has to be said that all are meant.
func (d *Desk) chosen(in Input, what string) (f deadletter.Filter, reason string, err error) {
	var all bool
	rest, err := parts(in.Body, map[string]any{"all": &all, "reason": &reason})
	if err != nil {
		return f, "", err
	}
	if f, err = selection(rest, nil); err != nil {
		return f, "", err
	}
	if f.IsZero() != all {
		return f, "", invalid("all", "say which letters to %s: give conditions, or \"all\": true and none", what)
	}
	return f, reason, nil
}
