# With :try, the script goes on with the message as it was.
require ["vnd.perot.encrypt", "fileinto"];
encrypt :try "nobody@t.org";
if not encrypted { fileinto "in clear"; }
