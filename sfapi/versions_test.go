package sfapi

import (
	"net/http"
	"slices"
	"testing"
)

// NOT_FOUND for an API version that the org does not offer is the configuration's fault and never a record's.
func TestNotFoundIsTheSystemsFaultIfTheVersionIsUnknown(t *testing.T) {
	t.Parallel()
	const gone = `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`
	tests := map[string]struct {
		status   int
		versions string
		want     Class
		op       string
		calls    int // for two upserts
	}{
		"the version is offered":     {200, `[{"version":"65.0"},{"version":"66.0"}]`, Permanent, opUpsert, 3},
		"the version is not offered": {200, `[{"version":"64.0"},{"version":"65.0"}]`, System, opUpsert, 4},
		"there is no list":           {404, gone, Permanent, opUpsert, 4},
		"the list is empty":          {200, `[]`, Permanent, opUpsert, 4},
		"the list is out of reach":   {503, "", System, opVersions, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o *org
			c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
				o.see(r)
				if r.URL.Path == "/services/data/" {
					reply(tt.status, "", tt.versions)(w, r)
					return
				}
				reply(404, "", gone)(w, r)
			})
			for range 2 {
				if got := failed(t, upsertOne(t.Context(), c)); got.Kind != tt.want || got.Op != tt.op {
					t.Errorf("got %+v", got)
				}
			}
			if len(o.calls) != tt.calls {
				t.Errorf("%d calls, want %d", len(o.calls), tt.calls)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, reply(200, "", `[{"label":"Winter '27","url":"/services/data/v68.0","version":"68.0"}]`))
	got, err := c.Versions(t.Context())
	if want := []Version{{"Winter '27", "/services/data/v68.0", "68.0"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}
