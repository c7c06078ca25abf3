package sfapi

import (
	"bytes"
	"compress/gzip"
	"regexp"
	"strconv"
	"sync"
)

const (
	// packFrom is the size in bytes above which a request body is compressed.
	packFrom = 1 << 10
	// maxPooled bounds the buffers that are kept for the next call.
	maxPooled = 4 << 20

	batchHead = `{"allOrNone":false,"records":[` + "\n"
	batchNext = ",\n"
	batchTail = "\n]}"
)

// appendBatch appends the body of a Collections upsert: the records as the caller encoded them, each with its type
// spliced in. Every record begins a line, so that a "[line:N, column:M]" in an answer tells them apart.
// https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html
func appendBatch(dst []byte, object string, records [][]byte) []byte {
	dst = append(dst, batchHead...)
	for i, record := range records {
		if i > 0 {
			dst = append(dst, batchNext...)
		}
		dst = appendTyped(dst, object, record)
	}
	return append(dst, batchTail...)
}

// appendTyped appends one record, which begins with a brace, with its attributes as the first member.
func appendTyped(dst []byte, object string, record []byte) []byte {
	dst = append(dst, `{"attributes":{"type":"`...)
	dst = append(dst, object...)
	dst = append(dst, `"}`...)
	members := record[1:]
	if first := bytes.TrimLeft(members, " \t\r\n"); len(first) > 0 && first[0] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, members...)
}

// batchSize is the length of what appendBatch appends, to the byte or a little more.
func batchSize(object string, records [][]byte) int {
	n := len(batchHead) + len(batchTail)
	for _, record := range records {
		n += len(record) + len(object) + len(`{"attributes":{"type":""},`) + len(batchNext)
	}
	return n
}

// packer makes request bodies and keeps its buffers between calls. The zero value is ready.
type packer struct{ benches sync.Pool }

// bench is what one body is made on.
type bench struct {
	plain  []byte
	packed bytes.Buffer
	gzip   *gzip.Writer
}

// body returns a request body of about size bytes that write appends to its argument; zipped says that it is
// compressed. The bytes belong to the caller, because the transport may still read them after the call has returned.
func (p *packer) body(size int, write func(dst []byte) []byte) (body []byte, zipped bool) {
	if size <= packFrom {
		return write(make([]byte, 0, size)), false
	}
	b, ok := p.benches.Get().(*bench)
	if !ok {
		b = &bench{}
		// BestSpeed: the link is rarely the bottleneck, the CPU may be. The level is valid, so there is no error.
		b.gzip, _ = gzip.NewWriterLevel(&b.packed, gzip.BestSpeed)
	}
	defer p.putBack(b)
	b.plain = write(b.plain[:0])
	if err := b.pack(); err != nil {
		return bytes.Clone(b.plain), false
	}
	return bytes.Clone(b.packed.Bytes()), true
}

func (p *packer) putBack(b *bench) {
	if cap(b.plain) <= maxPooled {
		p.benches.Put(b)
	}
}

// pack compresses the plain body. Writing to memory does not fail; if it ever did, the plain body is as good.
func (b *bench) pack() error {
	b.packed.Reset()
	b.gzip.Reset(&b.packed)
	if _, err := b.gzip.Write(b.plain); err != nil {
		return err
	}
	return b.gzip.Close()
}

// position finds where a parser of the request stopped.
var position = regexp.MustCompile(`\[line: ?(\d+), column: ?(\d+)\]`)

// suspect returns the index of the record that a message's [line:N, column:N] points into, -1 if there is none.
func suspect(message, object string, records [][]byte) int {
	at := position.FindStringSubmatch(message)
	if at == nil {
		return -1
	}
	line, errLine := strconv.Atoi(at[1])
	column, errColumn := strconv.Atoi(at[2])
	if errLine != nil || errColumn != nil || line < 1 {
		return -1
	}
	body := appendBatch(make([]byte, 0, batchSize(object, records)), object, records)
	offset := lineStart(body, line) + column - 1
	end := len(batchHead)
	for i, record := range records {
		if offset < end {
			return -1
		}
		end += len(appendTyped(nil, object, record)) + len(batchNext)
		if offset < end && offset < len(body) {
			return i
		}
	}
	return -1
}

// lineStart is the offset of a line, counted from 1; the end of the body if it has fewer lines.
func lineStart(body []byte, line int) int {
	start := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(body[start:], '\n')
		if i < 0 {
			return len(body)
		}
		start += i + 1
	}
	return start
}
