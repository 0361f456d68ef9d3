from .page import ExportedPage as ExportedPage, export_page as export_page, make_page as make_page
