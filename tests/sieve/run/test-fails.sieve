# A test that fails is false, and the script goes on.
require ["vnd.perot.encrypt", "fileinto"];
if not encrypt "nobody@t.org" { fileinto "could not"; }
if encrypted { fileinto "encrypted"; }
