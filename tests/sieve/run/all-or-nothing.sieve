# Every recipient has to have a certificate.
require ["vnd.perot.encrypt", "fileinto"];
if encrypt ["me@domain.com", "nobody@t.org"] { fileinto "to one of two"; }
if encrypt ["me@domain.com", "late@t.org", "ME@DOMAIN.COM"] { fileinto "to both, and to each once"; }
