"""Pages: function views, one file per page. Each decides nothing; it asks a domain module and shows the answer."""
