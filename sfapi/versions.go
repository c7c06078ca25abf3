package sfapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// Version is one version of the REST API that the org offers.
type Version struct {
	Label   string // "Winter '27"
	URL     string // "/services/data/v68.0"
	Version string // "68.0"
}

// Versions lists the API versions that the org offers. Salesforce does not count this call.
// https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_versions.htm
func (c *Client) Versions(ctx context.Context) ([]Version, error) {
	versions, fail := c.versions(ctx)
	return versions, asError(fail)
}

func (c *Client) versions(ctx context.Context) ([]Version, *Error) {
	s := scope{op: opVersions}
	var versions []Version
	fail := c.call(ctx, request{scope: s, method: http.MethodGet, full: "/services/data/"}, func(ans *answer) *Error {
		versions = nil
		return c.expect(s, func(body []byte) error { return json.Unmarshal(body, &versions) })(ans)
	})
	return versions, fail
}

// explainNotFound finds out whether NOT_FOUND is about the API version, which is the configuration's fault, and not about
// an object, a field or a record. A version that was offered lately is not asked about again.
func (c *Client) explainNotFound(ctx context.Context, fail *Error) *Error {
	if fail.Op == opVersions || c.versionKnown() {
		return fail
	}
	versions, unclear := c.versions(ctx)
	switch {
	case unclear != nil && unclear.Kind == Permanent: // no list at this address
		return fail
	case unclear != nil: // the link is in trouble: decide another time
		return unclear
	case len(versions) == 0:
		return fail
	case slices.ContainsFunc(versions, func(v Version) bool { return v.Version == c.cfg.APIVersion }):
		c.mu.Lock()
		c.versionOK = c.now()
		c.mu.Unlock()
		return fail
	}
	fail.Kind, fail.Bisect, fail.Shrink, fail.Tries = System, false, false, 0
	fail.Message = fmt.Sprintf("the org does not offer API version %s (%s)", c.cfg.APIVersion, fail.Message)
	return fail
}

func (c *Client) versionKnown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.versionOK.IsZero() && c.now().Sub(c.versionOK) < c.cfg.DescribeFor
}
