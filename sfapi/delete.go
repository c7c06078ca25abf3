package sfapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxSubrequests is how many requests one composite call may carry.
// https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-composite-post.html
const maxSubrequests = 25

// referencePrefix begins the ids of subrequests, which must begin with a letter.
const referencePrefix = "r"

// Delete is a batch of records of one object that are to be deleted by their External ID.
type Delete struct {
	Object     string
	ExternalID string
	Keys       []string // values of the External ID field, any number
}

// Delete moves records to the Recycle Bin, in one API call for 25 keys, and returns one result per key, in their order.
// A record that does not exist is success. The error, always an *[Error], means that a call failed as a whole: then the
// results without Err say which keys are done, and the others carry the error.
func (c *Client) Delete(ctx context.Context, req Delete) ([]Result, error) {
	if len(req.Keys) == 0 {
		return nil, nil
	}
	s := scope{op: opDelete, object: req.Object, key: req.ExternalID, count: len(req.Keys), writes: true}
	s.values = sync.OnceValues(func() ([]string, bool) { return keyValues(req.Keys), true })
	results := make([]Result, len(req.Keys))
	if fail := c.checkKeys(s, req.Keys); fail != nil {
		return failFrom(results, 0, fail), fail
	}
	for from := 0; from < len(req.Keys); from += maxSubrequests {
		to := min(from+maxSubrequests, len(req.Keys))
		s.count = to - from
		if fail := c.deleteSome(ctx, s, req.Keys[from:to], results[from:to]); fail != nil {
			return failFrom(results, from, fail), fail
		}
	}
	return results, nil
}

// checkKeys refuses an empty key: its path would be that of something else.
func (c *Client) checkKeys(s scope, keys []string) *Error {
	if fail := c.checkNames(s); fail != nil {
		return fail
	}
	if i := slices.Index(keys, ""); i >= 0 {
		fail := c.local(s, "MISSING_ARGUMENT", fmt.Sprintf("key %d is empty", i))
		fail.Suspect = i
		return fail
	}
	return nil
}

func failFrom(results []Result, from int, fail *Error) []Result {
	for i := from; i < len(results); i++ {
		results[i] = Result{Err: fail}
	}
	return results
}

func keyValues(keys []string) []string {
	values := valueSet{}
	for _, key := range keys {
		values.add(key)
	}
	return values.list()
}

// subrequest is one request inside a composite call.
type subrequest struct {
	Method      string `json:"method"`
	URL         string `json:"url"`
	ReferenceID string `json:"referenceId"`
}

// composite is a composite call whose parts succeed and fail each for itself.
type composite struct {
	AllOrNone          bool         `json:"allOrNone"`
	CollateSubrequests bool         `json:"collateSubrequests"`
	Requests           []subrequest `json:"compositeRequest"`
}

// subanswer is the answer to one subrequest.
type subanswer struct {
	Body        json.RawMessage `json:"body"`
	Status      int             `json:"httpStatusCode"`
	ReferenceID string          `json:"referenceId"`
}

// deleteSome makes one composite call and fills in the results.
func (c *Client) deleteSome(ctx context.Context, s scope, keys []string, results []Result) *Error {
	plain, err := json.Marshal(c.composite(s, keys))
	if err != nil {
		return c.local(s, "JSON_PARSER_ERROR", "the keys cannot be encoded")
	}
	body, zipped := c.packer.body(len(plain), func(dst []byte) []byte { return append(dst, plain...) })
	var missing []int
	fail := c.call(ctx, request{scope: s, method: http.MethodPost, path: "/composite", body: body, zipped: zipped}, func(ans *answer) *Error {
		answers, fail := c.readComposite(s, ans)
		for i, sub := range answers {
			gone := false
			if results[i].Err, gone = c.deleted(s, sub); gone {
				missing = append(missing, i)
			}
		}
		return fail
	})
	if fail != nil || len(missing) == 0 {
		return fail
	}
	fail = c.checkKey(ctx, s)
	for _, i := range missing {
		results[i].Err = fail
	}
	return nil
}

// readComposite reads the answer to a composite call and puts the parts in the order of the request.
func (c *Client) readComposite(s scope, ans *answer) ([]*answer, *Error) {
	var all struct {
		Answers []subanswer `json:"compositeResponse"`
	}
	if fail := c.expect(s, func(body []byte) error { return lenient(json.Unmarshal(body, &all)) })(ans); fail != nil {
		return nil, fail
	}
	if len(all.Answers) == 0 {
		return nil, c.refusal(s, ans)
	}
	ordered := make([]*answer, s.count)
	for _, sub := range all.Answers {
		i, err := strconv.Atoi(strings.TrimPrefix(sub.ReferenceID, referencePrefix))
		if err == nil && i >= 0 && i < s.count {
			ordered[i] = &answer{status: sub.Status, header: ans.header, body: sub.Body}
		}
	}
	if len(all.Answers) != s.count || slices.Contains(ordered, nil) {
		fail := c.strange(s, ans, codeUnreadable, fmt.Sprintf("%d answers for %d deletes", len(all.Answers), s.count))
		fail.Ambiguous = true
		return nil, fail
	}
	return ordered, nil
}

// deleted reads the answer to one delete. missing says that there is no such record, or no such object or field: both
// are NOT_FOUND, usually in the same words.
func (c *Client) deleted(s scope, sub *answer) (fail *Error, missing bool) {
	if sub.status >= 200 && sub.status < 300 {
		return nil, false
	}
	_, faults, err := parse(sub.body)
	if err != nil || len(faults) == 0 {
		faults = []fault{{ErrorCode: statusCode(sub.status)}}
	}
	switch faults[0].code() {
	case "ENTITY_IS_DELETED":
		return nil, false
	case "INVALID_CROSS_REFERENCE_KEY":
		c.log.Warn().Str("object", s.object).Str("code", faults[0].code()).Msg("record to delete does not exist or is out of reach")
		return nil, false
	case "NOT_FOUND":
		if !strings.Contains(strings.ToLower(faults[0].message()), "external id field does not exist") {
			return nil, true
		}
	}
	fail = c.weigh(s, sub, faults, false)
	if c.table.forced(s.object, fail.Code, sub.status) {
		fail.Kind, fail.Tries = System, 0
	}
	fail.Ambiguous = sub.status >= 500
	return fail, false
}

// checkKey tells a missing record from a wrong object or field: it returns nil if the object has the External ID field.
func (c *Client) checkKey(ctx context.Context, s scope) *Error {
	object, fail := c.describe(ctx, s.object)
	if fail != nil {
		about := *fail
		about.Op = s.op
		return &about
	}
	field, ok := object.Field(s.key)
	if !ok || !field.Key() {
		return c.local(s, "INVALID_EXTERNAL_ID_FIELD_NAME", s.key+" is no External ID field of "+s.object+" that this user can see")
	}
	return nil
}

func (c *Client) composite(s scope, keys []string) composite {
	all := composite{Requests: make([]subrequest, len(keys))}
	for i, key := range keys {
		all.Requests[i] = subrequest{
			Method:      http.MethodDelete,
			URL:         c.root() + "/sobjects/" + s.object + "/" + s.key + "/" + segment(key),
			ReferenceID: referencePrefix + strconv.Itoa(i),
		}
	}
	return all
}

// segment escapes a key as one segment of a path: everything but letters, digits, "-", "_", "~" and ".", so that no key
// looks like a separator, and a blank is no "+". A key of dots alone would look like a directory.
func segment(key string) string {
	if strings.Trim(key, ".") == "" {
		return strings.Repeat("%2E", len(key))
	}
	return strings.ReplaceAll(url.QueryEscape(key), "+", "%20")
}
