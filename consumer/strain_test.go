package consumer

import (
	"testing"

	"penstock/sfapi"
)

func TestAFewLockedRecordsAreSomebodyElsesWork(t *testing.T) {
	t.Parallel()
	results := func(locked, others int) []sfapi.Result {
		all := make([]sfapi.Result, locked+others)
		for i := range locked {
			all[i].Err = &sfapi.Error{Kind: sfapi.Transient, Code: "UNABLE_TO_LOCK_ROW", Limit: sfapi.LimitLocks}
		}
		return all
	}
	tests := map[string]struct {
		size    int
		results []sfapi.Result
		err     error
		want    sfapi.Limit
	}{
		"one of two hundred":                  {200, results(1, 199), nil, ""},
		"the same, when it is sent again":     {200, results(1, 0), nil, ""},
		"nine of two hundred, sent again":     {200, results(9, 0), nil, ""},
		"one alone":                           {1, results(1, 0), nil, ""},
		"one in twenty":                       {200, results(10, 190), nil, sfapi.LimitLocks},
		"all of them":                         {200, results(200, 0), nil, sfapi.LimitLocks},
		"the call as a whole":                 {200, nil, &sfapi.Error{Kind: sfapi.Transient, Limit: sfapi.LimitCPU}, sfapi.LimitCPU},
		"too many calls, as Salesforce's own": {200, nil, wordOf(&sfapi.Error{Kind: sfapi.System, Limit: sfapi.LimitConcurrent}), sfapi.LimitConcurrent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := limitOf(tt.size, tt.results, tt.err); got != tt.want {
				t.Fatalf("%q, want %q", got, tt.want)
			}
		})
	}
}
