package sfsim

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"net/http"
)

// maxPooled bounds what a buffer keeps between requests, so that one huge request does not stay in memory.
const maxPooled = 4 << 20

// buffer is the memory of one request, reused by the next.
type buffer struct {
	body    []byte
	packed  bytes.Buffer // the body as it came, when it was compressed
	squeeze bytes.Buffer // the answer, when it is compressed
	gzip    *gzip.Writer
}

func (b *buffer) free() {
	b.packed.Reset()
	b.squeeze.Reset()
	if cap(b.body) > maxPooled || b.packed.Cap() > maxPooled || b.squeeze.Cap() > maxPooled {
		*b = buffer{}
	}
}

// read reads the whole body, decompressed.
func (b *buffer) read(r *http.Request, limit int64, q *Quirks) ([]byte, *fault) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, q.fault(RequestTooLarge, "")
	}
	source := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip", "deflate":
		var fault *fault
		if source, fault = b.inflate(r, limit, q); fault != nil {
			return nil, fault
		}
	default:
		return nil, &fault{status: http.StatusUnsupportedMediaType, code: "UNSUPPORTED_MEDIA_TYPE", message: "unsupported Content-Encoding"}
	}
	if r.ContentLength > int64(cap(b.body)) {
		b.body = make([]byte, 0, r.ContentLength+1)
	}
	body, err := appendAll(b.body[:0], io.LimitReader(source, limit+1))
	b.body = body
	switch {
	case err != nil:
		return nil, &fault{status: http.StatusBadRequest, code: "BAD_REQUEST", message: "the body cannot be read"}
	case int64(len(body)) > limit:
		return nil, q.fault(RequestTooLarge, "")
	default:
		return body, nil
	}
}

// inflate returns a reader of the decompressed body.
func (b *buffer) inflate(r *http.Request, limit int64, q *Quirks) (io.Reader, *fault) {
	n, err := b.packed.ReadFrom(io.LimitReader(r.Body, limit+1))
	if n > limit {
		return nil, q.fault(RequestTooLarge, "")
	}
	if err == nil && r.Header.Get("Content-Encoding") == "deflate" {
		return flate.NewReader(&b.packed), nil
	}
	var reader io.Reader
	if err == nil {
		reader, err = gzip.NewReader(&b.packed)
	}
	if err != nil {
		return nil, &fault{status: http.StatusBadRequest, code: "BAD_REQUEST", message: "the compressed body cannot be read"}
	}
	return reader, nil
}

// appendAll is io.ReadAll into memory that is there already.
func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// compress returns the answer in gzip.
func (b *buffer) compress(body []byte) []byte {
	if b.gzip == nil {
		b.gzip, _ = gzip.NewWriterLevel(&b.squeeze, gzip.BestSpeed) // the level is valid, so there is no error
	} else {
		b.gzip.Reset(&b.squeeze)
	}
	// Writing to memory cannot fail.
	_, _ = b.gzip.Write(body)
	_ = b.gzip.Close()
	return b.squeeze.Bytes()
}
