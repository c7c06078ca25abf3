package workload

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Generator makes events from a seed. It is used by one goroutine.
type Generator struct {
	rng      *rand.Rand
	accounts int // accounts that contacts and orders refer to; they are never deleted
	serial   int
	now      time.Time
}

// New makes a generator whose contacts and orders refer to the first accounts of Account.
func New(seed uint64, accounts int) *Generator {
	return &Generator{
		rng:      rand.New(rand.NewPCG(seed, 0x70656e73746f636b)),
		accounts: accounts,
		now:      time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
	}
}

var (
	names      = []string{"Brückner & Söhne", "O'Neill Freight", "北海物流", "Aurora Mills", "Delta \"D\" Works", "Sørensen ApS", "Quarry/Stone", "Lumen \\ Co"}
	industries = []string{"Agriculture", "Banking", "Consulting", "Energy", "Retail", "Transportation"}
	cities     = [][2]string{{"Bern", "Switzerland"}, {"Łódź", "Poland"}, {"São Paulo", "Brazil"}, {"Cork", "Ireland"}, {"Kyōto", "Japan"}}
	firsts     = []string{"Ana", "Bjørn", "Chloé", "Dmitri", "Ebru", "Femi"}
	lasts      = []string{"García", "Hansen", "Ivanova", "Jørgensen", "Kowalska", "Li"}
	statuses   = []string{"Draft", "Placed", "Shipped", "Cancelled"}
)

func pick[T any](g *Generator, from []T) T { return from[g.rng.IntN(len(from))] }

// tick moves the generator's clock by up to ten seconds, to the microsecond.
func (g *Generator) tick() time.Time {
	g.now = g.now.Add(time.Duration(1+g.rng.IntN(10_000_000)) * time.Microsecond)
	return g.now
}

// Account is a snapshot of account i, as plain JSON.
func (g *Generator) Account(i int) Event {
	key, city, at := fmt.Sprintf("A-%06d", i), pick(g, cities), g.tick()
	name := fmt.Sprintf("%s %d", pick(g, names), g.rng.IntN(1000))
	industry, employees, active := pick(g, industries), g.rng.IntN(100_000), g.rng.IntN(4) > 0
	cents := g.rng.Int64N(1e12)
	ev := plain("changes.account.changed", map[string]any{
		"op": "upsert", "id": key, "name": name, "industry": industry, "employees": employees, "revenue_cents": cents,
		"address": map[string]any{"city": city[0], "country": city[1]}, "active": active, "changed_at": at.Format(time.RFC3339Nano),
	})
	ev.Mapping, ev.Object, ev.Key = "accounts", "Account", key
	ev.Fields = map[string]any{
		"Name": name, "Industry": industry, "NumberOfEmployees": json.Number(fmt.Sprint(employees)),
		"AnnualRevenue": json.Number(fmt.Sprintf("%d.%02d", cents/100, cents%100)),
		"BillingCity":   city[0], "BillingCountry": city[1], "Active__c": active, "Type": "Customer",
		"LastChanged__c": at.Truncate(time.Millisecond),
	}
	return ev
}

// DeleteAccount deletes account i.
func (g *Generator) DeleteAccount(i int) Event {
	key := fmt.Sprintf("A-%06d", i)
	ev := plain("changes.account.deleted", map[string]any{"op": "delete", "id": key})
	ev.Mapping, ev.Object, ev.Key, ev.Delete = "accounts", "Account", key, true
	return ev
}

// Heartbeat is skipped by a rule.
func (g *Generator) Heartbeat() Event {
	ev := plain("changes.account.heartbeat", map[string]any{"kind": "heartbeat", "at": g.tick()})
	ev.Mapping, ev.Skip = "accounts", true
	return ev
}

// Contact is a snapshot of contact i, as a CloudEvent in one of its two modes; now and then the e-mail is cleared.
func (g *Generator) Contact(i int) Event { return g.ContactOf(i, g.rng.IntN(g.accounts)) }

// ContactOf is a snapshot of contact i at a certain account.
func (g *Generator) ContactOf(i, of int) Event {
	g.serial++
	key, first, last := fmt.Sprintf("C-%06d", i), pick(g, firsts), pick(g, lasts)
	account := fmt.Sprintf("A-%06d", of)
	var email any = strings.ToLower(fmt.Sprintf("c%d.%d@example.com", i, g.rng.IntN(1000)))
	if g.rng.IntN(10) == 0 {
		email = nil
	}
	wrap := structured
	if g.rng.IntN(2) == 0 {
		wrap = binary
	}
	ev := wrap("changes.contact.changed", fmt.Sprintf("evt-%d", g.serial), "contact.changed", map[string]any{
		"id": key, "first": first, "last": last, "email": email, "account": account,
	})
	ev.Mapping, ev.Object, ev.Key = "contacts", "Contact", key
	ev.Fields = map[string]any{"FirstName": first, "LastName": last, "Email": email, "Account.External_ID__c": account}
	return ev
}

// Order is a change of order i, Debezium-shaped. Its key is an integer. A later change carries only some columns.
func (g *Generator) Order(i int, patch bool) Event {
	key, at, status := 100_000+i, g.tick(), pick(g, statuses)
	amount := json.Number(fmt.Sprintf("%d.%02d", g.rng.IntN(1_000_000), g.rng.IntN(100)))
	after := map[string]any{"id": key, "status": status, "amount": amount}
	fields := map[string]any{"Status__c": status, "Amount__c": amount}
	op := "u"
	if !patch {
		op = "c"
		account, number := fmt.Sprintf("A-%06d", g.rng.IntN(g.accounts)), fmt.Sprintf("SO-%d", key)
		after["number"], fields["Name"] = number, number
		after["account_id"], fields["Account__r.External_ID__c"] = account, account
		after["placed_at"], fields["Placed_At__c"] = at.Format(time.RFC3339Nano), at.Truncate(time.Millisecond)
	}
	ev := debezium("changes.order.changed", op, after, at.UnixMilli())
	ev.Mapping, ev.Object, ev.Key, ev.Fields = "orders", "Order__c", fmt.Sprint(key), fields
	return ev
}
