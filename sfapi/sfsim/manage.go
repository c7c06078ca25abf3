package sfsim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// maxManageBody bounds what the management API reads.
const maxManageBody = 1 << 20

// Manage returns the management API, to be served on a port of its own on loopback, since it has no password:
//
//	GET    /stats                  Stats
//	GET    /troubles               the rules in force, with how often they were seen and met
//	POST   /troubles               one Trouble or a list of them (JSON or YAML; durations as "30s"); answers their IDs
//	DELETE /troubles               end all rules        DELETE /troubles/{id}   end one
//	GET    /commits                the audit log; ?since=SEQUENCE&limit=N&object=NAME&key=VALUE
//	GET    /records/{object}/{key} a record by the object's first external ID field
//	GET    /records/{object}       how many records an object has
//	POST   /sessions/revoke        end every session
//	POST   /cursors/expire         make every nextRecordsUrl invalid
//	POST   /describes/{object}     make cached descriptions of an object stale
//	POST   /usage                  {"used":99990,"allowed":100000}
//	POST   /reset                  everything as at the start
func (s *Server) Manage() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Stats()) })
	mux.HandleFunc("GET /troubles", s.manageTroubles)
	mux.HandleFunc("POST /troubles", s.manageAddTroubles)
	mux.HandleFunc("DELETE /troubles", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearTroubles()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /troubles/{id}", func(w http.ResponseWriter, r *http.Request) {
		found(w, s.RemoveTrouble(r.PathValue("id")))
	})
	mux.HandleFunc("GET /commits", s.manageCommits)
	mux.HandleFunc("GET /records/{object}/{key}", s.manageRecord)
	mux.HandleFunc("GET /records/{object}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]int{"count": s.Count(r.PathValue("object"))})
	})
	mux.HandleFunc("POST /sessions/revoke", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]int{"revoked": s.RevokeSessions()})
	})
	mux.HandleFunc("POST /cursors/expire", func(w http.ResponseWriter, _ *http.Request) {
		s.ExpireCursors()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /describes/{object}", func(w http.ResponseWriter, r *http.Request) {
		found(w, s.Touch(r.PathValue("object")))
	})
	mux.HandleFunc("POST /usage", s.manageUsage)
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func found(w http.ResponseWriter, ok bool) {
	if ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Error(w, "not found", http.StatusNotFound)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

func (s *Server) manageTroubles(w http.ResponseWriter, _ *http.Request) {
	list := []map[string]any{}
	for _, state := range s.Troubles() {
		list = append(list, state.readable())
	}
	reply(w, http.StatusOK, list)
}

// readable is a rule as JSON with its durations as text.
func (t TroubleState) readable() map[string]any {
	fields := map[string]any{}
	// Plain values always encode, and what was encoded decodes.
	encoded, _ := json.Marshal(t)
	_ = json.Unmarshal(encoded, &fields)
	for name, text := range t.durations() {
		fields[name] = text
	}
	return fields
}

func (s *Server) manageAddTroubles(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxManageBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var list []Trouble
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && (trimmed[0] == '[' || trimmed[0] == '-') {
		err = decodeStrict(bytes.NewReader(body), &list)
	} else {
		list = make([]Trouble, 1)
		err = decodeStrict(bytes.NewReader(body), &list[0])
	}
	for i := range list {
		if err == nil {
			err = list[i].validate()
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = s.troubles.add(list[i])
	}
	reply(w, http.StatusCreated, map[string][]string{"ids": ids})
}

func (s *Server) manageCommits(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	since, errSince := strconv.ParseUint("0"+query.Get("since"), 10, 64)
	limit, errLimit := strconv.Atoi("0" + query.Get("limit"))
	if errSince != nil || errLimit != nil {
		http.Error(w, "since and limit are whole numbers", http.StatusBadRequest)
		return
	}
	list := []Commit{}
	for _, c := range s.CommitsSince(since) {
		if limit > 0 && len(list) == limit {
			break
		}
		if (query.Get("object") == "" || query.Get("object") == c.Object) && (query.Get("key") == "" || query.Get("key") == c.Key) {
			list = append(list, c)
		}
	}
	reply(w, http.StatusOK, list)
}

func (s *Server) manageRecord(w http.ResponseWriter, r *http.Request) {
	record, ok := s.Record(r.PathValue("object"), r.PathValue("key"))
	if !ok {
		found(w, false)
		return
	}
	reply(w, http.StatusOK, record)
}

func (s *Server) manageUsage(w http.ResponseWriter, r *http.Request) {
	var figures struct {
		Used    int `json:"used"`
		Allowed int `json:"allowed"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxManageBody)).Decode(&figures); err != nil || figures.Used < 0 {
		http.Error(w, `expected {"used":n,"allowed":n}`, http.StatusBadRequest)
		return
	}
	s.SetUsage(figures.Used, figures.Allowed)
	w.WriteHeader(http.StatusNoContent)
}
