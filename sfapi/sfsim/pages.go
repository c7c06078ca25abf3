package sfsim

// PageName names an answer that is not JSON, of the kinds seen in front of Salesforce during outages.
type PageName string

// The pages.
const (
	Maintenance      PageName = "maintenance"   // We are down for maintenance.
	NotAvailable     PageName = "not_available" // the CDN's Service Not Available
	BadMessage       PageName = "bad_message"   // Jetty refusing a request
	Upstream         PageName = "upstream"      // text: upstream connect error
	NoUpstream       PageName = "no_upstream"   // text: no healthy upstream
	Proxy            PageName = "proxy"         // a proxy or an IP block saying 403
	EmptyPage        PageName = "empty"         // no body at all
	MislabelledPage  PageName = "mislabelled"   // HTML sent as application/json
	HTMLWithStatusOK PageName = "html_with_ok"  // the maintenance page with status 200
)

// PageNames lists every page.
func PageNames() []PageName {
	return []PageName{
		Maintenance, NotAvailable, BadMessage, Upstream, NoUpstream, Proxy, EmptyPage, MislabelledPage, HTMLWithStatusOK,
	}
}

const maintenanceHTML = "<html><head><title>Maintenance</title></head><body><span>We are down for maintenance.</span>" +
	"<br/>Sorry for the inconvenience. We'll be back shortly.</body></html>\n"

// page returns the answer of a page with its usual status.
func page(name PageName) answer {
	html := func(status int, body string) answer {
		return answer{status: status, contentType: "text/html; charset=UTF-8", body: []byte(body)}
	}
	text := func(status int, body string) answer {
		return answer{status: status, contentType: "text/plain", body: []byte(body)}
	}
	switch name {
	case NotAvailable:
		return html(503, "<!DOCTYPE html><html><head><title>Service Not Available</title></head><body><h1>Service Not Available</h1></body></html>\n")
	case BadMessage:
		return html(400, "<h1>Bad Message 400</h1><pre>reason: Bad Request</pre>")
	case Upstream:
		return text(503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure")
	case NoUpstream:
		return text(503, "no healthy upstream")
	case Proxy:
		return html(403, "<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center></body></html>\n")
	case EmptyPage:
		return answer{status: 502}
	case MislabelledPage:
		return answer{status: 503, contentType: jsonType, body: []byte(maintenanceHTML)}
	case HTMLWithStatusOK:
		return html(200, maintenanceHTML)
	default:
		return html(503, maintenanceHTML)
	}
}
