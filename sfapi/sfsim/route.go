package sfsim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// route is one resource and method. A * in the path stands for any segment, the first one behind sobjects for an object.
type route struct {
	method string
	data   bool // under /services/data/vXX.X
	path   []string
	op     Operation
	serve  func(*call) answer
}

// table lists the API. The first route that fits is taken.
func (s *Server) table() []route {
	below := func(method, path string, op Operation, serve func(*call) answer) route {
		r := route{method: method, data: true, op: op, serve: serve}
		if path != "" {
			r.path = strings.Split(path, "/")
		}
		return r
	}
	beside := func(method, path string, op Operation, serve func(*call) answer) route {
		return route{method: method, path: strings.Split(path, "/"), op: op, serve: serve}
	}
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []route{
		beside(post, "services/oauth2/token", OpToken, s.token),
		beside(post, "services/oauth2/introspect", OpIntrospect, s.introspect),
		beside(post, "services/oauth2/revoke", OpRevoke, s.revoke),
		beside(get, "services/oauth2/userinfo", OpUserinfo, s.userinfo),
		beside(get, "services/data", OpVersions, s.versions),

		below(get, "", OpResources, s.resources),
		below(get, "limits", OpLimits, s.limits),
		below(get, "query", OpQuery, s.query),
		below(get, "query/*", OpQueryMore, s.queryMore),
		below(get, "sobjects", OpObjects, s.objects),
		below(get, "sobjects/*", OpObjects, s.objectInfo),
		below(post, "sobjects/*", OpInsert, s.insertOne),
		below(get, "sobjects/*/describe", OpDescribe, s.describe),
		below(get, "sobjects/*/*", OpGet, s.getByID),
		below(patch, "sobjects/*/*", OpUpdate, s.updateOne),
		below(del, "sobjects/*/*", OpDelete, s.deleteByID),
		below(get, "sobjects/*/*/*", OpGet, s.getByKey),
		below(patch, "sobjects/*/*/*", OpUpsert, s.upsertOne),
		below(del, "sobjects/*/*/*", OpDelete, s.deleteByKey),
		below(post, "composite", OpComposite, s.composite),
		below(post, "composite/sobjects", OpInsert, s.insertMany),
		below(patch, "composite/sobjects", OpUpdate, s.updateMany),
		below(del, "composite/sobjects", OpDelete, s.deleteMany),
		below(patch, "composite/sobjects/*/*", OpUpsert, s.upsertMany),
	}
}

func (r *route) fits(path []string) bool {
	if len(path) != len(r.path) {
		return false
	}
	for i, segment := range r.path {
		if segment != "*" && segment != path[i] {
			return false
		}
	}
	return true
}

// fromClause finds the object of a query before the query is parsed, so that trouble can meet it on its way.
var fromClause = regexp.MustCompile(`(?i)\sFROM\s+([A-Za-z0-9_]+)`)

// find settles operation, object and handler of a call: not found, wrong method, or nothing to complain about.
func (s *Server) find(c *call) *fault {
	var allowed []string
	for i := range s.routes {
		r := &s.routes[i]
		if r.data != (c.version != "") || !r.fits(c.path) {
			continue
		}
		if r.method != c.method && (c.method != http.MethodHead || r.method != http.MethodGet) {
			allowed = append(allowed, r.method)
			continue
		}
		c.op, c.serve = r.op, r.serve
		if r.op == OpQuery {
			if from := fromClause.FindStringSubmatch(c.query.Get("q")); from != nil {
				c.object = from[1]
			}
		}
		if at := slices.Index(r.path, "*"); at > 0 && r.path[at-1] == "sobjects" {
			c.object = c.path[at]
		}
		return nil
	}
	if allowed == nil {
		return notFound()
	}
	return &fault{
		status: http.StatusMethodNotAllowed, code: "METHOD_NOT_ALLOWED",
		message: "HTTP Method '" + c.method + "' not allowed. Allowed are " + strings.Join(allowed, ","),
	}
}
