package sfsim

import (
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// send puts an answer on the wire, or cuts the wire.
func (s *Server) send(w http.ResponseWriter, r *http.Request, c *call, b *buffer, a answer) {
	if a.cut {
		reset(w)
		return
	}
	header := w.Header()
	maps.Copy(header, a.header)
	header.Set("X-Sfdc-Request-Id", c.id)
	header.Set("X-Request-Id", c.id)
	header.Set("Server", "sfdcedge")
	header.Set("Vary", "Accept-Encoding")
	if a.contentType != "" {
		header.Set("Content-Type", a.contentType)
	} else {
		header["Content-Type"] = nil // or net/http would guess one
	}
	body := a.body
	if a.truncate == 0 && s.cfg.GzipFrom >= 0 && len(body) >= s.cfg.GzipFrom && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = b.compress(body)
		header.Set("Content-Encoding", "gzip")
	}
	if bodyAllowed(a.status) {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.status)
	if a.truncate > 0 && a.truncate < len(body) {
		body = body[:a.truncate] // less than Content-Length: net/http closes the connection behind it
	}
	if bodyAllowed(a.status) {
		_, _ = w.Write(body) // the client may be gone; what is committed stays committed
	}
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// reset ends the connection the hard way: the client sees "connection reset by peer" instead of an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// Only a ResponseWriter that is no connection, such as a recorder, gets here.
		http.Error(w, "sfsim: this transport cannot be cut", http.StatusInternalServerError)
		return
	}
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn() // TLS would say goodbye
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what cannot be reset is closed all the same
	}
	conn.Close()
}
