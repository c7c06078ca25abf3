package sfapi

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Query runs a SOQL query and yields its records one by one, each a JSON object with "attributes". Pages of up to 2,000
// records are fetched when they are needed, one API call each; whoever stops early saves the rest. An error, always an
// *[Error], is yielded once, with no record, and ends the sequence.
// https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query.htm
func (c *Client) Query(ctx context.Context, soql string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for page, err := range c.Pages(ctx, soql) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, record := range page.Records {
				if !yield(record, nil) {
					return
				}
			}
		}
	}
}

// Page is a part of the answer to a query.
type Page struct {
	// Total is how many records the whole answer has; of a query for COUNT(), which has none, what was counted.
	Total   int
	Records []json.RawMessage
}

// Pages is Query page by page.
func (c *Client) Pages(ctx context.Context, soql string) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		s := scope{op: opQuery, values: func() ([]string, bool) { return literals(soql), true }}
		req := request{scope: s, method: http.MethodGet, path: "/query?q=" + url.QueryEscape(soql), limit: c.cfg.MaxAnswerBytes}
		for {
			p, fail := c.page(ctx, req)
			if fail != nil {
				yield(Page{}, fail)
				return
			}
			if !yield(Page{Total: p.Total, Records: p.Records}, nil) || p.Next == "" {
				return
			}
			req.path, req.full = "", p.Next
		}
	}
}

// page is one page as it is transferred.
type page struct {
	Total   int               `json:"totalSize"`
	Records []json.RawMessage `json:"records"`
	Next    string            `json:"nextRecordsUrl"` // there are more pages as long as there is one
}

func (c *Client) page(ctx context.Context, req request) (page, *Error) {
	var p page
	fail := c.call(ctx, req, func(ans *answer) *Error {
		p = page{}
		if fail := c.expect(req.scope, func(body []byte) error { return lenient(json.Unmarshal(body, &p)) })(ans); fail != nil {
			return fail
		}
		switch {
		case p.Records == nil:
			return c.refusal(req.scope, ans)
		case p.Next != "" && (!nextShape.MatchString(p.Next) || p.Next == req.full):
			return c.strange(req.scope, ans, codeUnreadable, "nextRecordsUrl is not the path of a further page")
		}
		return nil
	})
	return p, fail
}

// nextShape is what a nextRecordsUrl may look like: a path of the API, never another host.
var nextShape = regexp.MustCompile(`^/services/data/v\d{2,3}\.0/[\w./-]+$`)

// literal finds the values in a query: strings and numbers.
var literal = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'|\b\d[\d.:TZ+-]*`)

// literals returns the values in a query, which Salesforce quotes in its errors together with the query.
func literals(soql string) []string {
	values := valueSet{}
	for _, m := range literal.FindAllStringSubmatch(soql, -1) {
		if !strings.HasPrefix(m[0], "'") {
			values.add(m[0])
			continue
		}
		values.add(m[1])
		values.add(unescape.Replace(m[1]))
	}
	return values.list()
}

var unescape = strings.NewReplacer(`\'`, `'`, `\"`, `"`, `\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t")
