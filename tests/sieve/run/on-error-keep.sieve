# The administrator has asked for the same.
# sieve_perot_encrypt_on_error = keep
require ["vnd.perot.encrypt", "fileinto"];
encrypt "nobody@t.org";
if not encrypted { fileinto "in clear"; }
