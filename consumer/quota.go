package consumer

import (
	"fmt"
	"time"

	"penstock/sfapi"
)

// Quota is what Salesforce says of the org's daily calls; the client learns it from every answer.
type Quota interface {
	Usage() sfapi.Usage
	Forecast(used int) time.Time // when it is expected to have fallen so far
}

// Operators are told that the calls run short at lowShare of our share, and again only after they had fallen below calmShare.
const (
	lowShare  = 0.9
	calmShare = 0.85
)

// mindQuota closes the gate when the org has used the share of its daily calls that writing may reach, whoever used it. It
// returns the reason, if it stands.
func (c *Consumer) mindQuota() []Reason {
	if c.deps.Quota == nil || c.cfg.DailyCallShare <= 0 {
		return nil
	}
	usage := c.deps.Quota.Usage()
	limit := int(c.cfg.DailyCallShare * float64(usage.Allocation))
	c.tellQuota(usage, limit)
	if !usage.Known || usage.Used < limit {
		return nil
	}
	why := fmt.Sprintf("%d of the org's %d daily API requests are used, and writing stops at %d (salesforce.daily_call_share)",
		usage.Used, usage.Allocation, limit)
	if at := c.deps.Quota.Forecast(limit - 1); !at.IsZero() {
		why += "; expected to go on at about " + at.UTC().Format("2006-01-02 15:04 UTC")
	}
	c.gate.shut(ReasonQuota, why, 0)
	return []Reason{ReasonQuota}
}

// tellQuota sends a notice when the calls run short, once until they do not any more.
func (c *Consumer) tellQuota(usage sfapi.Usage, limit int) {
	used, most := float64(usage.Used), float64(limit)
	switch {
	case used < calmShare*most:
		c.quotaLow.Store(false)
		return
	case !usage.Known, used < lowShare*most, c.quotaLow.Swap(true):
		return
	}
	c.tell(NoticeQuotaLow, Closure{
		Reason: ReasonQuota, Since: usage.At,
		Why: fmt.Sprintf("%d of the org's %d daily API requests are used, writing stops at %d", usage.Used, usage.Allocation, limit),
	})
}
