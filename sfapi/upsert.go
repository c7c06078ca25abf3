package sfapi

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// MaxRecords is how many records one upsert may carry.
// https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html
const MaxRecords = 200

// Upsert is a batch of records of one object, which are created or updated by their External ID.
type Upsert struct {
	Object     string // API name of the object, e.g. Account
	ExternalID string // API name of the External ID field
	// Records are at most [MaxRecords] complete JSON objects that include the External ID field and no "attributes". A
	// key may stand in a batch once. They are only read, and not kept.
	Records [][]byte
}

// Result is what became of one record.
type Result struct {
	ID      string // Salesforce's id of the record; empty if it failed, and for deletes
	Created bool   // the record is new
	Err     *Error // nil: success
}

// Upsert writes a batch in one API call and returns one result per record, in their order. Records fail one by one: the
// others are written. The error, always an *[Error], means that the call as a whole failed; whether the records may have
// been written nevertheless is in its field Ambiguous.
func (c *Client) Upsert(ctx context.Context, req Upsert) ([]Result, error) {
	if len(req.Records) == 0 {
		return nil, nil
	}
	s := scope{
		op: opUpsert, object: req.Object, key: req.ExternalID, count: len(req.Records), writes: true,
		values:  sync.OnceValues(func() ([]string, bool) { return recordValues(req.Records) }),
		suspect: func(message string) int { return suspect(message, req.Object, req.Records) },
	}
	if fail := c.checkBatch(s, req); fail != nil {
		return nil, fail
	}
	body, zipped := c.packer.body(batchSize(req.Object, req.Records), func(dst []byte) []byte {
		return appendBatch(dst, req.Object, req.Records)
	})
	var results []Result
	fail := c.call(ctx, request{
		scope:  s,
		method: http.MethodPatch,
		path:   "/composite/sobjects/" + req.Object + "/" + req.ExternalID,
		body:   body,
		zipped: zipped,
	}, func(ans *answer) (fail *Error) {
		results, fail = c.readResults(s, ans)
		return fail
	})
	return results, asError(fail)
}

// checkBatch refuses what would make a request that nobody can read, in the words Salesforce would use.
func (c *Client) checkBatch(s scope, req Upsert) *Error {
	if fail := c.checkNames(s); fail != nil {
		return fail
	}
	if s.count > MaxRecords {
		return c.local(s, "EXCEEDED_ID_LIMIT", fmt.Sprintf("%d records in one call, at most %d are allowed", s.count, MaxRecords))
	}
	for i, record := range req.Records {
		if len(record) < 2 || record[0] != '{' || record[len(record)-1] != '}' {
			fail := c.local(s, "JSON_PARSER_ERROR", fmt.Sprintf("record %d is not a JSON object", i))
			fail.Suspect = i
			return fail
		}
	}
	return nil
}

// checkNames refuses what is no API name, because names become parts of a path.
func (c *Client) checkNames(s scope) *Error {
	if !isName(s.object) {
		return c.local(s, "INVALID_TYPE", "the object's name is not an API name")
	}
	if s.key != "" && !isName(s.key) || s.writes && s.key == "" {
		return c.local(s, "INVALID_EXTERNAL_ID_FIELD_NAME", "the External ID field's name is not an API name")
	}
	return nil
}

// local is an error about a request that was not sent.
func (c *Client) local(s scope, code, message string) *Error {
	v := c.table.judge(s, code, message, true)
	fail := c.newError(s, &answer{}, v.class, code, message)
	fail.Tries, fail.Bisect, fail.Shrink = v.tries, v.bisect, v.shrink
	return fail
}

// readResults reads the answer to an upsert. Results can come under 200 and under 400; what decides is the shape.
func (c *Client) readResults(s scope, ans *answer) ([]Result, *Error) {
	if formOf(ans.body, ans.header.Get("Content-Type")) != formJSON {
		return nil, c.refusal(s, ans)
	}
	rows, faults, err := parse(ans.body)
	switch {
	case err != nil:
		return nil, c.broken(s, ans, err)
	case rows == nil:
		return nil, c.faulted(s, ans, faults)
	case len(rows) != s.count:
		fail := c.strange(s, ans, codeUnreadable, fmt.Sprintf("%d results for %d records", len(rows), s.count))
		fail.Ambiguous = true
		return nil, fail
	}
	results := make([]Result, len(rows))
	for i, r := range rows {
		if *r.Success {
			results[i] = Result{ID: r.ID, Created: r.Created}
			continue
		}
		if len(r.Errors) == 0 {
			r.Errors = []fault{r.fault} // a failure without a reason
		}
		results[i].Err = c.weigh(s, ans, r.Errors, false)
	}
	return results, nil
}

// isName reports whether s can be the API name of an object or a field.
func isName(s string) bool { return fieldShape.MatchString(s) }
