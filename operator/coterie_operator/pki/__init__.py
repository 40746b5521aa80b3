"""Who gets which certificate, when; and issuing it."""

from coterie_operator.pki.authority import Authority, Issued, Request, aggregator_request, operator_request
from coterie_operator.pki.renewal import Validity

__all__ = ["Authority", "Issued", "Request", "Validity", "aggregator_request", "operator_request"]
