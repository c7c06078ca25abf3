package sfsim

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// allowance is one entry of /limits.
type allowance struct {
	Max       int `json:"Max"`
	Remaining int `json:"Remaining"`
}

// limits serves GET /limits.
func (s *Server) limits(*call) answer {
	used, allowed := s.usage.figures()
	// Plain values always encode.
	body, _ := json.Marshal(map[string]allowance{
		"DailyApiRequests":                  {Max: allowed, Remaining: max(allowed-used, 0)},
		"DailyBulkApiBatches":               {Max: 15_000, Remaining: 15_000},
		"DailyBulkV2QueryJobs":              {Max: 10_000, Remaining: 10_000},
		"DailyBulkV2QueryFileStorageMB":     {Max: 976_562, Remaining: 976_562},
		"DataStorageMB":                     {Max: 10_240, Remaining: 10_240},
		"FileStorageMB":                     {Max: 10_240, Remaining: 10_240},
		"ConcurrentAsyncGetReportInstances": {Max: 200, Remaining: 200},
	})
	return jsonAnswer(http.StatusOK, body)
}

// seasons name the three releases of a year by the remainder of their version: 66.0 is Spring '26.
var seasons = []string{"Spring", "Summer", "Winter"}

// versions serves GET /services/data, which needs no token and is not counted.
func (s *Server) versions(*call) answer {
	type version struct {
		Label   string `json:"label"`
		URL     string `json:"url"`
		Version string `json:"version"`
	}
	list := []version{}
	for number := s.cfg.Versions.Oldest; number <= s.cfg.Versions.Newest; number++ {
		season, year := seasons[number%3], number/3+4
		if season == "Winter" {
			year++ // winter releases carry the year that is about to begin
		}
		text := strconv.Itoa(number) + ".0"
		list = append(list, version{Label: season + " '" + strconv.Itoa(year), URL: "/services/data/v" + text, Version: text})
	}
	// Plain values always encode.
	body, _ := json.Marshal(list)
	return jsonAnswer(http.StatusOK, body)
}

// resources serves GET /services/data/vXX.X.
func (s *Server) resources(c *call) answer {
	base := "/services/data/" + c.version + "/"
	// Plain values always encode.
	body, _ := json.Marshal(map[string]string{
		"composite": base + "composite", "limits": base + "limits", "query": base + "query", "sobjects": base + "sobjects",
	})
	return jsonAnswer(http.StatusOK, body)
}
